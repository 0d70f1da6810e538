use super::*;
use serde_json::json;

#[test]
fn spans() {
    let read = |v| serde_json::from_value::<Span>(v).map(|s| s.0).map_err(|e| e.to_string());
    assert_eq!(read(json!(5)), Ok(Duration::from_secs(5)));
    assert_eq!(read(json!(0.5)), Ok(Duration::from_millis(500)));
    assert_eq!(read(json!("5")), Ok(Duration::from_secs(5)));
    assert_eq!(read(json!("1m 30s")), Ok(Duration::from_secs(90)));
    for bad in [json!("soon"), json!(-1), json!([5]), json!("1e99"), json!("nan")] {
        assert!(read(bad.clone()).is_err(), "{bad}");
    }
    assert_eq!(Span(Duration::from_millis(1500)).to_string(), "1s 500ms");
}

#[test]
fn sizes() {
    let read = |v| serde_json::from_value::<Size>(v).map(|s| s.0).map_err(|e| e.to_string());
    assert_eq!(read(json!(10)), Ok(10));
    assert_eq!(read(json!("50MB")), Ok(50 << 20));
    assert_eq!(read(json!("1 gb")), Ok(1 << 30));
    for bad in [json!("50XB"), json!(-1), json!("MB"), json!(1.5), json!("99999999999GB")] {
        assert!(read(bad.clone()).is_err(), "{bad}");
    }
}

#[test]
fn environments_as_table_and_as_text() {
    let read = |v: Value| environment(v).map_err(|e: serde_json::Error| e.to_string());
    let pairs = |list: &[(&str, &str)]| {
        Ok(list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    };
    assert_eq!(read(json!({"A": "x=1,\"y\"", "B": 2})), pairs(&[("A", "x=1,\"y\""), ("B", "2")]));
    assert_eq!(
        read(json!("A=\"a,b\",B=c , D='%'")),
        pairs(&[("A", "a,b"), ("B", "c"), ("D", "%")])
    );
    assert_eq!(read(json!("")), pairs(&[]));
    for bad in
        [json!("A"), json!("A=\"x"), json!("A=\"x\"y"), json!({"A=B": "x"}), json!({"A": [1]})]
    {
        assert!(read(bad.clone()).is_err(), "{bad}");
    }
}

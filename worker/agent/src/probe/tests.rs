//! Probes of servers that the test plays.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::*;

/// More than any answer takes, and less than a test's deadline.
const LONG: Duration = Duration::from_secs(20);

/// Answers one request with `answer`, and then keeps the connection for as long as the client
/// does. Its port, and what was asked.
async fn server(host: &str, answer: &'static [u8]) -> (u16, oneshot::Receiver<String>) {
    let listener = TcpListener::bind((host, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, request) = oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        asked.send(String::from_utf8(head).unwrap()).unwrap();
        stream.write_all(answer).await.unwrap();
        // Until the client goes, which may be by a reset.
        let _ = stream.read_u8().await;
    });
    (port, request)
}

async fn asked(ask: Asked, within: Duration) -> Option<String> {
    Prober::default().ask(ask, within).await
}

async fn http(answer: &'static [u8]) -> Option<String> {
    let (port, _request) = server("127.0.0.1", answer).await;
    asked(Asked::Http(format!("http://127.0.0.1:{port}/health")), LONG).await
}

#[tokio::test]
async fn the_status_decides() {
    for well in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"[..],
        b"HTTP/1.1 204 No Content\r\n\r\n",
        // Not followed: nobody listens there.
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 399 ?\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        // A body that never ends, and one that is torn.
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    ] {
        assert_eq!(http(well).await, None, "{}", String::from_utf8_lossy(well));
    }
    for (ill, why) in [
        (&b"HTTP/1.1 400 Bad\r\ncontent-length: 0\r\n\r\n"[..], "400 Bad Request"),
        (b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", "503 Service Unavailable"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "invalid HTTP"),
    ] {
        let said = http(ill).await.unwrap();
        assert!(said.starts_with("GET http://127.0.0.1:") && said.contains(why), "{said}");
    }
}

#[tokio::test]
async fn the_request_names_the_host_and_the_path() {
    let fine = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    for (bind, host, path, line) in [
        ("127.0.0.1", "localhost", "", "GET / HTTP/1.1"),
        ("127.0.0.1", "127.0.0.1", "/a%20b?c=d#e", "GET /a%20b?c=d HTTP/1.1"),
        ("127.0.0.1", "127.0.0.1", "?q", "GET /?q HTTP/1.1"),
        ("::1", "[::1]", "/x", "GET /x HTTP/1.1"),
    ] {
        let (port, request) = server(bind, fine).await;
        let address = format!("http://{host}:{port}{path}");
        assert_eq!(asked(Asked::Http(address.clone()), LONG).await, None, "{address}");
        let request = request.await.unwrap();
        assert!(request.starts_with(&format!("{line}\r\n")), "{request}");
        assert!(request.contains(&format!("\r\nhost: {host}:{port}\r\n")), "{request}");
        assert!(request.contains("\r\nconnection: close\r\n"), "{request}");
    }
}

#[tokio::test]
async fn a_server_that_is_silent_is_not_well() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", silent.local_addr().unwrap());
    let said = asked(Asked::Http(address), Duration::from_millis(50)).await.unwrap();
    assert!(said.contains("no answer within 50ms"), "{said}");
}

#[tokio::test]
async fn the_body_does_not_count_as_time_of_the_answer() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n";
    let mut said = Some(String::new());
    // The head alone may be late on a machine that is busy; the body never ends.
    for _ in 0..20 {
        let (port, _request) = server("127.0.0.1", head).await;
        let address = format!("http://127.0.0.1:{port}/");
        said = asked(Asked::Http(address), BODY_TIME_MAX * 9 / 10).await;
        if said.is_none() {
            break;
        }
    }
    assert_eq!(said, None);
}

#[tokio::test]
async fn a_server_that_hangs_up_is_not_well() {
    let rude = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", rude.local_addr().unwrap());
    tokio::spawn(async move { drop(rude.accept().await.unwrap()) });
    assert!(asked(Asked::Http(address), LONG).await.is_some());
}

#[tokio::test]
async fn a_port_that_accepts_is_well() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tcp = |address: String| asked(Asked::Tcp(address), LONG);
    assert_eq!(tcp(format!("127.0.0.1:{port}")).await, None);
    assert_eq!(tcp(format!("localhost:{port}")).await, None);
    drop(listener);
    // Somebody else may be given the port at once.
    let mut said = None;
    for _ in 0..20 {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        said = tcp(free.to_string()).await;
        if said.is_some() {
            break;
        }
    }
    let said = said.unwrap();
    assert!(said.contains("refused"), "{said}");
    for strange in ["nonsense", "127.0.0.1:http", "127.0.0.1:99999"] {
        assert!(tcp(strange.to_owned()).await.is_some(), "{strange}");
    }
    assert!(asked(Asked::Http("http://".to_owned()), LONG).await.is_some());
}

#[tokio::test]
async fn a_connection_to_itself_is_none() {
    let own = tokio::net::TcpSocket::new_v4().unwrap();
    own.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = own.local_addr().unwrap();
    let stream = own.connect(address).await.unwrap();
    assert!(other_end(stream).unwrap_err().contains("refused"));
}

#[tokio::test]
async fn only_so_many_are_asked_at_once_and_waiting_does_not_count() {
    let mut said = Some(String::new());
    // The second one may be late on a machine that is busy.
    for _ in 0..20 {
        let prober = Prober(Arc::new(Semaphore::new(1)));
        let (port, _request) = server("127.0.0.1", b"HTTP/1.1 200 OK\r\n\r\n").await;
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hangs = format!("http://{}/", silent.local_addr().unwrap());
        let first = prober.ask(Asked::Http(hangs), Duration::from_millis(1200));
        let second =
            prober.ask(Asked::Http(format!("http://127.0.0.1:{port}/")), Duration::from_secs(1));
        let (first, second) = tokio::join!(first, second);
        assert!(first.is_some());
        said = second;
        if said.is_none() {
            break;
        }
    }
    assert_eq!(said, None, "its time began when the first one's was over");
}

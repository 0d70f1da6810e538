use super::*;

#[test]
fn nothing_has_two_keys() {
    for key in ["w1.web.03", "w1.web.+3", "w1._touch.05", "w1._touch.+5"] {
        assert_eq!(FleetKey::parse(key), None, "{key}");
    }
    assert_eq!(parse_fleet_status_key("_fleet.web.00"), None);
    assert_eq!(parse_goal_key("web.+0"), None);
    let id = "01a2196f-9747-779c-98b1-acd12ef1289c";
    for id in [id.to_owned(), id.replace('-', "").to_uppercase(), format!("{{{id}}}")] {
        assert_eq!(AlertKey::parse(&format!("a.letter.{id}")), None, "{id}");
        assert_eq!(AlertKey::parse(&format!("a.dead.{id}")), None, "{id}");
        assert_eq!(AlertKey::parse(&format!("a.group.r.{id}")), None, "{id}");
    }
}

#[test]
fn keys_are_read_back() {
    let w = WorkerName::parse("w1").unwrap();
    let i = InstanceId::new(ProgramName::parse("web").unwrap(), 3);
    assert_eq!(
        FleetKey::parse(&instance_key(&w, &i)),
        Some(FleetKey::Placement(w.clone(), i.clone()))
    );
    assert_eq!(FleetKey::parse(&touch_key(&w, 5)), Some(FleetKey::Touch(w, 5)));
    assert_eq!(FleetKey::parse(&scheduler_key("x")), Some(FleetKey::Scheduler("x".into())));
    assert_eq!(parse_fleet_status_key(&fleet_status_key(&i)), Some(i.clone()));
    assert_eq!(parse_goal_key(&goal_key(&i.program, Some(3))), Some((i.program.clone(), Some(3))));
    assert_eq!(parse_goal_key(&goal_key(&i.program, None)), Some((i.program.clone(), None)));
    assert_eq!(parse_group_key(&group_key(&i.program)), Some(i.program.clone()));
    for other in [group_key(&i.program), fleet_status_key(&i)] {
        assert_eq!(parse_instance_key(&other), None, "{other}");
    }
    let secret = SecretName::parse("db").unwrap();
    let key = secret_key(&WorkerName::parse("w1").unwrap(), &secret);
    assert_eq!(parse_secret_key(&key), Some((WorkerName::parse("w1").unwrap(), secret)));
    assert_eq!(parse_secret_key("w1.a.b"), None);
    for bad in ["", "w1", "w1.web", "w1.web.x", "w1.web.1.2", "_x.web.1", "w1._touch.x"] {
        assert_eq!(FleetKey::parse(bad), None, "{bad}");
    }
}

#[test]
fn keys_of_alerts_are_read_back() {
    let (name, rule) = (AlertName::parse("ops").unwrap(), RuleName::parse("fatal").unwrap());
    let id = Uuid::from_u128(7);
    for key in [
        AlertKey::Lease,
        AlertKey::Group(rule.clone(), id),
        AlertKey::Rate(rule),
        AlertKey::Letter(id),
        AlertKey::Dead(id),
        AlertKey::Lost,
    ] {
        assert_eq!(AlertKey::parse(&key.of(&name)), Some((name.clone(), key)));
    }
    for bad in ["ops", "ops.x", "ops.letter.x", "ops.group.fatal", "_x.lease", "ops.lost.1"] {
        assert_eq!(AlertKey::parse(bad), None, "{bad}");
    }
}

#[test]
fn a_consumer_has_the_identity_of_its_program_however_long_that_is_called() {
    let id = ProgramId(Uuid::from_u128(7));
    let of = |name: &str| listener_consumer(&ProgramName::parse(name).unwrap(), id);
    assert_eq!(of("mail"), format!("mail-{}", id.0.simple()));
    let long = of(&"x".repeat(NAME_LEN_MAX));
    assert!(long.len() == NAME_LEN_MAX && long.ends_with(&id.0.simple().to_string()), "{long}");
}

#[test]
fn fleets_do_not_share_names() {
    let lab = FleetName::parse("lab").unwrap();
    assert_eq!(Bucket::Goals.name(&FleetName::default()), "dsbus_goals");
    assert_eq!(Bucket::Goals.stream(&lab), "KV_dsbus_lab_goals");
    assert_eq!(events_stream(&lab), "DSBUS_EVENTS_lab");
}

use super::*;

const EXAMPLE: &str = include_str!("../../../../examples/alert.toml");

fn around() -> Surroundings {
    let variables = [("HOME", "/home/ann"), ("SMTP_PASSWORD", "s3cret"), ("PAGER_TOKEN", "t")];
    Surroundings {
        variables: variables.iter().map(|(k, v)| (k.into(), v.into())).collect(),
        directory: "/etc".into(),
        machine: None,
    }
}

fn parsed(text: &str) -> Result<AlertFile, Vec<String>> {
    let source = Source { name: "alert.toml", text };
    parse(&source, Path::new("/etc/dsbus"), &around())
        .map_err(|found| found.iter().map(Diagnostic::one_line).collect())
}

/// What is wrong with a target, beside a rule that is right.
fn wrong(target: &str) -> Vec<String> {
    let rule = "[[rule]]\nname = \"r\"\nevents = \"FATAL\"\nsend = \"t\"\n";
    parsed(&format!("{rule}[target.t]\n{target}")).unwrap_err()
}

#[test]
fn the_example_is_right_and_names_every_key() {
    let file = parsed(EXAMPLE).unwrap();
    assert_eq!((file.spec.rules.len(), file.spec.targets.len()), (3, 4));
    assert_eq!(file.unused, []);
    for section in [Section::Rule, Section::Webhook, Section::Mail, Section::Command] {
        for key in section.keys() {
            assert!(EXAMPLE.contains(&key), "{section:?}: {key}");
        }
    }
}

/// The keys that stand in the example behind a `#` are right, too, in the section where they stand.
#[test]
fn what_the_example_leaves_out_is_right_too() {
    let directory = tempfile::tempdir().unwrap();
    let authority = include_str!("../../../tests/files/ca.pem");
    for (name, text) in [
        ("smtp-password", "p"),
        ("pager-password", "p"),
        ("routing-key", "k"),
        ("pager-token", "t"),
        ("ca.pem", authority),
    ] {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    // Of two ways to say the same only one may stand there.
    let other = ["password_env", "pager-password", "PAGER_PASSWORD", "token_env", "username"];
    let pages = EXAMPLE.find("[target.page]").unwrap();
    let mut at = 0;
    let lines = EXAMPLE.lines().map(|line| {
        at += line.len() + 1;
        let key = line.strip_prefix('#').filter(|key| key.starts_with(|c: char| c.is_lowercase()));
        let key = key.filter(|key| key.contains(" = "));
        let twice = |key: &&str| {
            let of_pager = at > pages && other.iter().any(|word| key.contains(word));
            key.starts_with("password_env") || of_pager || key.starts_with("text = \"\"\"")
        };
        key.filter(|key| !twice(key)).unwrap_or(line).to_owned()
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    let source = Source { name: "alert.toml", text: &text };
    let found = parse(&source, directory.path(), &around());
    let said = found.map_err(|found| found.iter().map(Diagnostic::one_line).collect::<Vec<_>>());
    assert_eq!(said.map(|file| file.spec.rules.len()), Ok(3));
}

#[test]
fn sections_that_mean_nothing_are_told() {
    for (text, said) in [
        ("", "alert.toml: has no rule; one begins with [[rule]]"),
        ("[rule]\nname = \"x\"", "alert.toml:1: rule: a rule begins with two brackets"),
        ("[[rules]]\n", "alert.toml:1: rules: unknown section (did you mean \"rule\"?)"),
        ("[targets.x]\n", "alert.toml:1: targets: unknown section (did you mean \"target\"?)"),
        ("events = 1\n", "alert.toml:1: events: stands outside of a section"),
        ("target = 1\n", "alert.toml:1: target: a target is a section ([target.NAME])"),
        ("[target]\nx = 1\n", "alert.toml:2: target.x: a target is a section of its own"),
        ("[[rule]\n", "alert.toml:1: not valid TOML"),
    ] {
        let told = parsed(text).unwrap_err();
        assert!(told[0].starts_with(said), "{text:?}: {told:?}");
    }
}

/// Each target, without its type, and how what is told of it begins.
fn all_wrong(of_type: &str, targets: &[(&str, &str)]) {
    for (target, said) in targets {
        let told = wrong(&format!("type = {of_type:?}\n{target}"));
        let line = 6 + target.lines().count();
        let line = if target.is_empty() { 5 } else { line };
        let expected = format!("alert.toml:{line}: target.t.{said}");
        let missing = format!("alert.toml:5: target.t.{said}");
        let fits = told[0].starts_with(&expected) || told[0].starts_with(&missing);
        assert!(fits, "{target:?}: {told:?}");
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(!told[0].contains("s3cret"), "{told:?}");
    }
}

#[test]
fn a_target_has_a_type() {
    let known = "\"webhook\", \"mail\", \"command\"";
    let told = wrong("");
    assert_eq!(told, [format!("alert.toml:5: target.t.type: is missing: it is one of {known}")]);
    let told = wrong("type = \"email\"\nx = 1");
    let expected = format!("expected one of {known}; found \"email\"");
    assert_eq!(told, [format!("alert.toml:6: target.t.type: {expected}")]);
}

#[test]
fn webhooks_are_checked_with_what_they_name() {
    let to = "url = \"http://s3cret.example.org\"\n";
    let more = [
        ("token_env = \"NONE\"", "token_env: there is no variable NONE"),
        ("headers = { Authorization = \"s3cret\" }", "headers: Authorization is a secret"),
        ("headers = { \"a b\" = \"s3cret\" }", "headers: \"a b\" cannot be a header"),
        ("method = \"GET\"", "method: expected POST or PUT"),
        ("body = \"{{ evnt }}\"", "body: evnt is not known in a template"),
        ("json = { a = \"{% if %}\" }", "json: syntax error"),
        ("body = \"{{ text }}\"", "body: does not give JSON"),
        ("ca_file = \"ca.pem\"", "ca_file: /etc/dsbus/ca.pem cannot be read"),
        ("timeout = \"1h\"", "timeout: is from a moment to 10 minutes"),
        ("password = \"s3cret\"", "password: unknown key (did you mean \"password_"),
        ("content_type = \"text/plain\"", "content_type: goes with body"),
    ];
    let more: Vec<_> = more.map(|(target, said)| (format!("{to}{target}"), said)).into();
    let more: Vec<(&str, &str)> = more.iter().map(|(t, said)| (t.as_str(), *said)).collect();
    all_wrong("webhook", &more);
    all_wrong(
        "webhook",
        &[
            ("", "url: is missing: say where to"),
            ("url = \"ftp://s3cret\"", "url: is no address of a web server"),
            ("url_file = \"none\"", "url_file: the secret in /etc/dsbus/none cannot be read"),
            (
                "url_file = \"%(her)s\"",
                "url_file: %(her) is not known here; known are here, host_node_name",
            ),
        ],
    );
}

#[test]
fn mails_are_checked_with_what_they_name() {
    let to = "to = \"a@b.c\"\n";
    let login = "username = \"x\"";
    let more = [
        (login, "username: has no password beside it"),
        ("password_env = \"SMTP_PASSWORD\"", "password_env: has no username beside it"),
        ("tls = \"ssl\"", "tls: expected one of starttls, tls, none, found \"ssl\""),
        (
            "tls = \"none\"\npassword_env = \"SMTP_PASSWORD\"\nusername = \"x\"",
            "username: a password is not sent in the clear",
        ),
    ];
    let more: Vec<_> = more.map(|(target, said)| (format!("{to}{target}"), said)).into();
    let more: Vec<(&str, &str)> = more.iter().map(|(t, said)| (t.as_str(), *said)).collect();
    all_wrong("mail", &more);
    all_wrong("mail", &[("", "to: is missing"), ("to = \"x\"", "to: \"x\" is no mail address")]);
}

#[test]
fn commands_are_checked() {
    all_wrong(
        "command",
        &[
            ("", "command: is missing: say what to run"),
            ("command = \"a 'b\"", "command: has a quote that is not closed"),
            ("command = [1]", "command: expected a command line"),
        ],
    );
}

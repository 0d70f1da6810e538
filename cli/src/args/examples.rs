//! Examples below the help of each verb.

/// Verbs, and what one does with them.
pub(super) const EXAMPLES: &[(&str, &str)] = &[
    ("init", "dsbus init\ndsbus init /etc/dsbus"),
    (
        "apply",
        "dsbus apply web.toml\ndsbus apply --dry-run conf.d/web.toml conf.d/db.toml\ndsbus apply /etc/supervisor/supervisord.conf",
    ),
    ("export", "dsbus export --file programs.toml\ndsbus export web"),
    ("import", "dsbus import /etc/supervisor/supervisord.conf > programs.toml"),
    (
        "create",
        "dsbus create hello -- sleep 1000\ndsbus create web --numprocs 3 --environment MODE=live -- /usr/bin/web --port 8080",
    ),
    (
        "run",
        "dsbus run -- date\ncat big.csv | dsbus run --labels disk=ssd -- sha256sum\ndsbus run --detach --name nightly -- /usr/bin/report",
    ),
    (
        "start",
        "dsbus start web\ndsbus start web:0 api --no-wait\ndsbus start all\ndsbus start import -- --all --since 2026-01-01",
    ),
    ("stop", "dsbus stop web\ndsbus stop web:0 web:1 --timeout 2m"),
    ("restart", "dsbus restart web\ndsbus restart --rolling web"),
    ("reload", "dsbus reload web"),
    ("remove", "dsbus remove web"),
    ("enable", "dsbus enable web"),
    ("disable", "dsbus disable web"),
    ("scale", "dsbus scale web=5\ndsbus scale web=5 worker=20"),
    ("rollout", "dsbus rollout status\ndsbus rollout pause web\ndsbus rollout undo web"),
    ("history", "dsbus history web"),
    ("status", "dsbus status\ndsbus status web:0 api -o json\ndsbus status -w"),
    ("describe", "dsbus describe web\ndsbus describe web:0 -n 50"),
    ("explain", "dsbus explain web:0"),
    ("pid", "dsbus pid web:0"),
    ("wait", "dsbus wait web\ndsbus wait web:0 --for stopped --timeout 5m"),
    ("groups", "dsbus groups\ndsbus groups shop -o json"),
    ("workers", "dsbus workers\ndsbus workers w1"),
    ("drain", "dsbus drain w1"),
    ("undrain", "dsbus undrain w1"),
    ("cordon", "dsbus cordon w1 w2"),
    ("uncordon", "dsbus uncordon w1"),
    ("forget", "dsbus forget w9"),
    ("rebalance", "dsbus rebalance --dry-run\ndsbus rebalance"),
    ("recover", "dsbus recover --dry-run\ndsbus recover\ndsbus recover --from backup.toml"),
    (
        "auth",
        "dsbus auth init /etc/dsbus/auth --servers tls://nats.example.org:4222 --workers w1,w2\ndsbus auth add operator ann --verbs start,stop,restart\ndsbus auth add listener audit --events 'process.*'\ndsbus auth rotate w1\ndsbus auth revoke ann --old\ndsbus auth revoke scheduler --force",
    ),
    (
        "secret",
        "dsbus secret set db-password\ndsbus secret set db-password --file db.txt\npass show db | dsbus secret set db-password --workers 'db*'\ndsbus secret list\ndsbus secret remove db-password",
    ),
    (
        "logs",
        "dsbus logs web:0\ndsbus logs -f -n 100 web api\ndsbus logs --stderr web:0\ndsbus logs --daemon w1",
    ),
    ("clear", "dsbus clear web:0"),
    ("attach", "dsbus attach web:0\ndsbus attach -n 100 web:0"),
    ("signal", "dsbus signal HUP web\ndsbus signal 10 web:0 web:1\ndsbus signal SIGUSR1 all"),
    ("stdin", "dsbus stdin web:0 reload now\ndsbus stdin --eof web:0 < commands.txt"),
    (
        "events",
        "dsbus events web --since 2h\ndsbus events -f --type FATAL,worker.LOST\ndsbus events --worker w1 -o json",
    ),
    ("top", "dsbus top\ndsbus top web shop"),
    ("shell", "dsbus shell\necho 'restart web' | dsbus shell"),
    (
        "supervisorctl",
        "dsbus supervisorctl status\ndsbus supervisorctl restart shop:*\ndsbus supervisorctl tail -f web stderr",
    ),
    ("emit", "dsbus emit DEPLOYED v1.2.3"),
    ("listen", "dsbus listen -e PROCESS_STATE_EXITED -- crashmail -a -m ops@example.com"),
    ("alert", "dsbus alert alert.toml\ndsbus alert letters"),
    (
        "gateway",
        "dsbus gateway\ndsbus gateway gateway.toml\ndsbus gateway --listen unix:/run/dsbus-gateway/http.sock",
    ),
    ("config", "dsbus config\ndsbus config --context prod -o json"),
    ("version", "dsbus version\ndsbus version -o json"),
    (
        "healthy",
        "dsbus healthy worker w1\ndsbus healthy alert\ndsbus healthy http http://127.0.0.1:9001/readyz",
    ),
    ("doctor", "dsbus doctor\ndsbus doctor --nats nats://n1 -o json"),
    (
        "dev",
        "dsbus dev examples/hello.toml\ndsbus dev --workers 5 --data /tmp/fleet web.toml\ndsbus dev kill w1",
    ),
    ("scheduler", "dsbus --nats nats://n1,nats://n2,nats://n3 scheduler --id s1"),
    (
        "worker",
        "dsbus --nats nats://n1,nats://n2,nats://n3 worker --name db1 --label disk=ssd\n\
         dsbus worker reload --dir /var/lib/dsbus/db1",
    ),
    ("completion", "dsbus completion bash"),
    (
        "man",
        "dsbus man | man -l -\ndsbus man status | man -l -\ndsbus man --dir /usr/local/share/man/man1",
    ),
];

/// What `remove` takes: an instance has no declaration of its own.
const REMOVED: &str = "Programs, not single instances; all is every program";

/// Adds what the types of the command line do not say.
pub(super) fn add_to(command: clap::Command) -> clap::Command {
    command
        .mut_subcommand("remove", |remove| remove.mut_arg("names", |names| names.help(REMOVED)))
        .mut_subcommands(add)
}

/// Adds the examples of a verb to its help.
fn add(verb: clap::Command) -> clap::Command {
    let Some((_, lines)) = EXAMPLES.iter().find(|(name, _)| *name == verb.get_name()) else {
        return verb;
    };
    let mut text = String::from("Examples:");
    for line in lines.lines() {
        text.extend(["\n  ", line]);
    }
    if let Some(more) = verb.get_after_help() {
        text.extend(["\n\n", &more.to_string()]);
    }
    verb.after_help(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_examples_that_are_commands() {
        for verb in super::super::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let named = |(name, _): &&(&str, &str)| *name == verb.get_name();
            let (_, lines) = EXAMPLES.iter().find(named).unwrap_or_else(|| panic!("{verb}"));
            for line in lines.lines() {
                let words = line.split(['|', '>']).next().unwrap().split_whitespace();
                let parsed = super::super::parse(words);
                assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
            }
        }
        let known = super::super::command();
        for (name, _) in EXAMPLES {
            assert!(known.get_subcommands().any(|verb| verb.get_name() == *name), "{name}");
        }
    }
}

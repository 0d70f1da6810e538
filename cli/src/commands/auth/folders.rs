//! What is in the folder of a user, as texts. Pure, but for the keys that are given.

use dsbus_schema::permit::{Role, inbox};

use super::book::{Book, User};
use super::files::{OPEN, SECRET};

/// Files of a user's folder that are written once: name, text, mode.
pub(super) fn files(
    book: &Book,
    user: &User,
    role: &Role,
    ca: Option<&str>,
    [password, monitor]: &[String; 2],
) -> Vec<(&'static str, String, u32)> {
    let mut files = vec![("dsbus.toml", settings(book, user, role), OPEN)];
    files.extend(ca.map(|ca| ("ca.pem", ca.to_owned(), OPEN)));
    match role {
        Role::Worker { worker, .. } => files.push((
            "worker.toml",
            format!(
                "# The worker {worker}: dsbus worker --config worker.toml, in this directory. dsbus init writes \
                 one with every key.\n\
                 name = \"{worker}\"\n\
                 # It runs nothing that is not signed by one of these.\n\
                 {SIGNERS_FILE}\n\
                 # Where it keeps its state; another worker on this machine needs another place.\n\
                 #dir = \"/var/lib/dsbus/{worker}\"\n\
                 \n{POLICY}"
            ),
            OPEN,
        )),
        Role::Scheduler => files.push(("grants.toml", GRANTS.to_owned(), OPEN)),
        Role::Gateway => files.extend([(MONITOR, format!("{monitor}\n"), SECRET), (
            "gateway.toml",
            format!(
                "# Who may use the gateway: dsbus gateway gateway.toml, in this directory.\n\
                 listen = [\"127.0.0.1:9001\"]\n\n\
                 [user.admin]\npassword = \"{password}\"\nrole = \"operator\"\n\n\
                 # Who scrapes /metrics, such as Prometheus.\n\
                 [user.monitor]\npassword_file = \"{MONITOR}\"\nrole = \"viewer\"\n"
            ),
            SECRET,
        )]),
        Role::Viewer | Role::Operator(_) | Role::Listener(_) | Role::Alert(_) => {}
    }
    files
}

/// The file of the password by which a monitor looks at the gateway.
pub(super) const MONITOR: &str = "monitor.password";
/// What the owner of a machine may want; docs/policy.md has all of it.
const POLICY: &str = "\
# What this machine lets programs do, whatever the fleet says (docs/policy.md). Without it: anything.
#[policy]
#root = false
#users = [\"app\"]
#directories = [\"/srv\", \"/var/log/app\"]
#executables = [\"/usr/bin/python3\", \"/srv/app/**\"]
";

const SIGNERS_FILE: &str = "signers_file = \"signers\"";

const GRANTS: &str = "\
# Who may do what to which programs: a scheduler that is started in this directory reads it, also when
# it changes. Whoever is not here may do all that the bus lets through.
#
#[user.ann]
#programs = [\"web*\"]
#verbs = [\"start\", \"stop\", \"restart\"]
";

/// `signers`: keys of all schedulers.
pub(super) fn signers(book: &Book) -> String {
    let lines: Vec<String> =
        book.signers().map(|(name, key)| format!("# {name}\n{key}\n")).collect();
    format!(
        "# Public keys of the schedulers. Written anew by dsbus auth; copy it to the machine.\n{}",
        lines.concat()
    )
}

fn settings(book: &Book, user: &User, role: &Role) -> String {
    let ca = if book.ca { "tls_ca = \"ca.pem\"\n" } else { "" };
    format!(
        "# The {} {} of the fleet {}; written by dsbus auth. Paths are relative to this file.\n\
         nats = \"{}\"\n\
         fleet = \"{}\"\n\
         user = \"{}\"\n\
         nkey = \"seed.nk\"\n\
         {ca}inbox_prefix = \"{}\"\n",
        role.name(),
        user.name,
        book.fleet,
        book.servers.join(","),
        book.fleet,
        user.name,
        inbox(user.name.as_str(), role),
    )
}

//! Ansible's module `community.general.supervisorctl`, which runs supervisorctl and reads what it says,
//! as it is: `./run setup` fetches it.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::ctl;
use crate::fleet::{Fleet, said};
use crate::served::Gateway;
use crate::supervisord::python_path;

#[test]
fn ansible_starts_and_stops() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/ansible");
    assert!(std::path::Path::new(folder).is_dir(), "Ansible is missing: ./run setup");
    let mut fleet = Fleet::start(1, 1);
    let gateway = Gateway::start(&mut fleet, "g1", &[]);
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\n");
    gateway.wait_state("web:0", "RUNNING", &[]);
    // Writes the file that it reads.
    drop(ctl(&fleet, &gateway));
    let stock = fleet.file(
        "supervisorctl",
        &format!(
            "#!/bin/sh\nPYTHONPATH={} exec python3 -W ignore -m supervisor.supervisorctl \"$@\"\n",
            python_path()
        ),
    );
    std::fs::set_permissions(&stock, PermissionsExt::from_mode(0o755)).unwrap();
    let config = fleet.path().join("ctl.conf").display().to_string();
    let play = |words: &str| {
        let words = format!("{words} config={config} supervisorctl_path={stock}");
        let output = Command::new("python3")
            .args(["-m", "ansible.cli.adhoc", "localhost", "-i", "localhost,", "-c", "local"])
            .args(["-e", "ansible_python_interpreter=python3"])
            .args(["-m", "community.general.supervisorctl", "-a", &words])
            .env("PYTHONPATH", folder)
            .env("ANSIBLE_COLLECTIONS_PATH", folder)
            .env("ANSIBLE_HOME", fleet.path().join("ansible"))
            .env("ANSIBLE_LOCAL_TEMP", fleet.path().join("ansible"))
            .output()
            .unwrap();
        said(&output)
    };
    for (words, changed, state) in [
        ("name=web state=started", false, "RUNNING"),
        ("name=web state=stopped", true, "STOPPED"),
        ("name=web state=stopped", false, "STOPPED"),
        ("name=web state=started", true, "RUNNING"),
        ("name=web state=restarted", true, "RUNNING"),
        ("name=web state=signalled signal=CONT", true, "RUNNING"),
        ("name=web state=present", false, "RUNNING"),
        ("name=all state=restarted", true, "RUNNING"),
    ] {
        let told = play(words);
        let wanted = format!("\"changed\": {changed}");
        assert!(told.starts_with("exit status: 0") && told.contains(&wanted), "{words}: {told}");
        assert_eq!(fleet.row("web:0")["state"], state, "{words}: {told}");
    }
    let told = play("name=nope state=started");
    assert!(told.contains("FAILED") && !told.starts_with("exit status: 0"), "{told}");
}

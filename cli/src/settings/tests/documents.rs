//! What documents and examples say of settings is so.

use std::path::Path;

use super::super::Key;
use super::Place;

#[test]
fn the_example_has_every_key_and_each_line_of_it_can_be_used() {
    const EXAMPLE: &str = include_str!("../../../../examples/dsbus.toml");
    let place = Place::new().file("dsbus.toml", EXAMPLE);
    assert!(place.settled().rows.iter().all(|row| row.from == "default"), "{:?}", place.settled());
    let lines = EXAMPLE.lines().filter_map(|line| line.strip_prefix('#'));
    let lines: Vec<&str> =
        lines.filter(|line| !line.starts_with(' ') && line.contains(" = ")).collect();
    for key in Key::ALL {
        let begin = format!("{} = ", key.name());
        assert!(lines.iter().any(|line| line.starts_with(&begin)), "{begin}");
    }
    let around = place.around();
    for line in lines {
        let source = crate::file::Source { name: "dsbus.toml", text: line };
        super::super::file::parse(&source, Path::new("dsbus.toml"), Path::new("/"), &around)
            .unwrap();
    }
}

#[test]
fn the_reference_names_every_setting() {
    const REFERENCE: &str = include_str!("../../../../docs/settings.md");
    for key in Key::ALL {
        let names = [Some(key.name()), Some(key.variable()), key.nats_variable()];
        for name in names.into_iter().flatten() {
            assert!(REFERENCE.contains(&format!("`{name}`")), "{name}");
        }
    }
}

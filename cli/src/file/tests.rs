use std::fs;

use super::*;

struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Files {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Files(directory)
    }

    fn read(&self, names: &[&str]) -> Result<Programs, Vec<String>> {
        let here = Surroundings { directory: self.0.path().to_owned(), ..Default::default() };
        let paths: Vec<PathBuf> = names.iter().map(|name| self.0.path().join(name)).collect();
        let directory = self.0.path().display().to_string() + "/";
        let line = |one: &Diagnostic| one.one_line().replace(&directory, "");
        read_all(&paths, &here)
            .map(|(programs, _)| programs)
            .map_err(|wrong| wrong.iter().map(line).collect())
    }
}

fn one(text: &str) -> Result<Programs, Vec<String>> {
    Files::new(&[("a.toml", text)]).read(&["a.toml"])
}

fn value(programs: &Programs, name: &str, key: &str) -> Value {
    programs[&ProgramName::parse(name).unwrap()].get(key).cloned().unwrap_or(Value::Null)
}

#[test]
fn a_local_key_wins_over_what_is_extended_and_that_over_defaults() {
    let found = one(r#"
        [defaults]
        user = "nobody"
        startsecs = 3
        priority = 5
        environment = { A = "default", D = "default" }
        events = "TICK_60"

        [template.base]
        command = "base"
        startsecs = 7
        environment = { A = "base", B = "base" }

        [template.middle]
        extends = "base"
        priority = 8

        [program.web]
        extends = "middle"
        command = "web"
        environment = { A = "web" }

        [program.twin]
        extends = "web"

        [eventlistener.ear]
        command = "ear"
        "#)
    .unwrap();
    assert_eq!(found.len(), 3, "a template is no program");
    for name in ["web", "twin"] {
        let value = |key| value(&found, name, key);
        assert_eq!(value("command"), "web");
        assert_eq!(
            (value("startsecs"), value("priority"), value("user")),
            (7.into(), 8.into(), "nobody".into())
        );
        let all = serde_json::json!({ "A": "web", "B": "base", "D": "default" });
        assert_eq!(value("environment"), all);
        assert_eq!(value("events"), Value::Null, "a program has no such key");
    }
    assert_eq!(value(&found, "ear", "eventlistener")["events"], "TICK_60");
    assert_eq!(value(&found, "ear", "priority"), 5);
}

#[test]
fn files_include_files() {
    let files = Files::new(&[
        (
            "main.toml",
            "include = [\"conf.d/*.toml\", \"old.conf\"]\n[defaults]\nuser = \"nobody\"\nnice = 1\n",
        ),
        ("conf.d/b.toml", "[program.b]\nextends = \"base\"\ndirectory = \"%(here)s/x\"\n"),
        (
            "conf.d/a.toml",
            "include = \"../main.toml\"\n[defaults]\nnice = 2\n[template.base]\ncommand = \"base\"\n[program.a]\ncommand = \"echo %%(here)s\"\n",
        ),
        ("conf.d/.hidden.toml", "not toml"),
        ("old.conf", "[program:old]\ncommand=old\n"),
    ]);
    let found = files.read(&["main.toml"]).unwrap();
    assert_eq!(found.len(), 3);
    assert_eq!(
        (value(&found, "a", "user"), value(&found, "a", "nice")),
        ("nobody".into(), 2.into())
    );
    assert_eq!(
        (value(&found, "b", "command"), value(&found, "b", "nice")),
        ("base".into(), 1.into())
    );
    let here = files.0.path().join("conf.d/x").display().to_string();
    assert_eq!(value(&found, "b", "directory"), here);
    assert_eq!(value(&found, "a", "command"), "echo %%(here)s");
    assert_eq!(value(&found, "old", "user"), Value::Null, "Supervisor's own file says it all");
}

#[test]
fn what_is_inherited_is_told_where_it_stands() {
    let files = Files::new(&[
        (
            "a.toml",
            "include = [\"b.toml\", \"c.toml\", \"no*.toml\"]\n[program.a]\nextends = \"base\"\ncommand = \"a\"\n[program.b]\nextends = \"base\"\ncommand = \"b\"\n[program.d]\nextends = \"bse\"\n",
        ),
        (
            "b.toml",
            "[template.base]\nnumprocs = \"many\"\nlimits = { memry = 5 }\n[template.x]\nextends = \"y\"\n[template.y]\nextends = \"x\"\n[template.z]\ncomand = \"\"\n",
        ),
    ]);
    assert_eq!(
        files.read(&["a.toml"]).unwrap_err(),
        [
            "a.toml:1: include: \"c.toml\" is no file",
            "a.toml:9: program.d.extends: no program or template is named \"bse\" (did you mean \"base\"?)",
            "b.toml:2: template.base.numprocs: expected a whole number, found \"many\"",
            "b.toml:3: template.base.limits.memry: unknown key (did you mean \"memory\"?)",
            "b.toml:5: template.x.extends: extends itself, over \"y\"",
            "b.toml:7: template.y.extends: extends itself, over \"x\"",
            "b.toml:9: template.z.comand: unknown key (did you mean \"command\"?)",
        ]
    );
    assert_eq!(
        one("defaults = 1\n[program.a]\ncommand = \"a\"\nextends = 5\n[defalts]\n").unwrap_err(),
        [
            "a.toml:1: defaults: stands outside of a section (defaults is a section: [defaults])",
            "a.toml:4: program.a.extends: is the name of a program or a template",
            "a.toml:5: defalts: unknown section (did you mean \"defaults\"?)",
        ]
    );
    let twice = Files::new(&[
        ("a.toml", "[program.a]\ncommand = \"a\"\n"),
        ("b.conf", "[program:a]\ncommand=a\n"),
    ]);
    let told = twice.read(&["a.toml", "a.toml"]).unwrap_err();
    assert_eq!(told, ["a.toml:1: program.a: is declared twice, first in a.toml:1"]);
    assert_eq!(twice.read(&["b.conf", "a.toml"]).unwrap_err().len(), 1);
}

/// The file that `dsbus init` writes: as it is, and with all its examples.
#[test]
fn the_file_to_begin_with_is_right_in_every_line() {
    let example = include_str!("../../../examples/programs.toml");
    assert_eq!(one(example).unwrap().len(), 1);
    let begins = |line: &str| line.starts_with(|c: char| c.is_ascii_lowercase() || c == '[');
    let all = example.lines().map(|line| match line.strip_prefix('#') {
        // That would be a oneshot, which is another kind of program.
        Some(rest) if begins(rest) && !rest.starts_with("schedule") => rest,
        _ => line,
    });
    let all = all.collect::<Vec<_>>().join("\n");
    let files = Files::new(&[("a.toml", &all)]);
    let found = files.read(&["a.toml"]).unwrap_or_else(|wrong| panic!("{}", wrong.join("\n")));
    assert_eq!(found.len(), 2, "{all}");
    let variables = value(&found, "hello", "environment");
    assert_eq!((&variables["PYTHONUNBUFFERED"], &variables["MODE"]), (&"1".into(), &"live".into()));
}

#[test]
fn files_that_declare_no_program_are_not_applied_for_nothing() {
    for (name, text) in [
        ("a.toml", "[template.base]\ncommand = \"base\"\n"),
        ("a.toml", "[defaults]\nuser = \"nobody\"\n"),
        ("a.toml", ""),
        ("a.conf", "[supervisord]\nnodaemon=true\n"),
        ("a.conf", "[program:a]\ncommand=a\nnumprocs=0\n"),
    ] {
        let wrong = Files::new(&[(name, text)]).read(&[name]).unwrap_err();
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert!(wrong[0].contains("declares no program"), "{wrong:?}");
    }
    let two = [
        ("a.toml", "[template.base]\ncommand = \"base\"\n"),
        ("b.toml", "[program.b]\nextends = \"base\"\n"),
    ];
    assert_eq!(Files::new(&two).read(&["a.toml", "b.toml"]).unwrap().len(), 1);
}

#[test]
fn a_file_without_an_end_is_refused() {
    let why = text_of(Path::new("/dev/zero")).unwrap_err();
    assert_eq!(why, format!("is longer than {TEXT_BYTES_MAX} bytes"));
}

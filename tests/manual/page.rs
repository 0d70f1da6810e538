//! A page of the manual: what of it is typed, and what it says is then seen.

use std::fmt;
use std::mem::take;

/// Languages of blocks that would be commands, and are called otherwise here.
const NOT_OURS: &[&str] = &["bash", "shell", "zsh", "shell-session", "sh-session"];
/// Where a page says which fleet it is tried on.
const FLEET: &str = "<!-- fleet: ";

/// What a block is for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A file of this name.
    File(String),
    /// Commands; the last one of each line must succeed.
    Commands,
    /// Commands, and what each of them prints.
    Session(Vec<Step>),
    /// Python with the client of this repository; it must succeed.
    Python,
    /// A file that nothing on the page uses; it must have no mistake all the same.
    Part(Reader),
    /// Commands that cannot be run by a test.
    NotRun,
}

/// A command, and what it prints.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) command: String,
    pub(crate) printed: String,
}

/// A block between fences.
#[derive(Debug)]
pub(crate) struct Block {
    /// Its line in the page, from 1.
    pub(crate) line: usize,
    pub(crate) kind: Kind,
    pub(crate) text: String,
}

/// A page.
#[derive(Debug)]
pub(crate) struct Page {
    /// From the root of the repository.
    pub(crate) path: String,
    /// Words after `dsbus dev`; none: it starts what it needs itself.
    pub(crate) fleet: Option<Vec<String>>,
    pub(crate) blocks: Vec<Block>,
}

impl Page {
    /// Reads a page; what is wrong with its blocks is an error.
    pub(crate) fn read(path: &str, text: &str) -> Result<Page, String> {
        let mut blocks = Vec::new();
        let mut open: Option<(usize, String, String)> = None;
        for (index, line) in text.lines().enumerate() {
            match &mut open {
                None => {
                    if let Some(info) = line.strip_prefix("```") {
                        open = Some((index + 1, info.to_owned(), String::new()));
                    }
                }
                Some(_) if line == "```" => {
                    if let Some((line, info, text)) = take(&mut open) {
                        let at = |why: String| format!("{path}:{line}: {why}");
                        if let Some(kind) = kind(&info, &text).map_err(at)? {
                            blocks.push(Block { line, kind, text });
                        }
                    }
                }
                Some((_, _, text)) => {
                    text.push_str(line);
                    text.push('\n');
                }
            }
        }
        if let Some((line, ..)) = open {
            return Err(format!("{path}:{line}: the block has no end"));
        }
        let said = text.split_once(FLEET).and_then(|(_, rest)| rest.split_once(" -->"));
        let words = said.map_or("--workers 3", |(words, _)| words);
        let fleet = (words != "none").then(|| words.split(' ').map(str::to_owned).collect());
        Ok(Page { path: path.to_owned(), fleet, blocks })
    }

    /// How many blocks of commands are not run.
    pub(crate) fn not_run(&self) -> usize {
        self.blocks.iter().filter(|block| block.kind == Kind::NotRun).count()
    }

    /// Whether there is anything to run.
    pub(crate) fn runs(&self) -> bool {
        let run =
            |block: &Block| matches!(block.kind, Kind::Commands | Kind::Session(_) | Kind::Python);
        self.blocks.iter().any(run)
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

/// Who reads a file of which a page shows a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    Programs,
    Worker,
    Alert,
    Gateway,
    Grants,
    Settings,
}

impl Reader {
    pub(crate) const ALL: [Reader; 6] = [
        Reader::Programs,
        Reader::Worker,
        Reader::Alert,
        Reader::Gateway,
        Reader::Grants,
        Reader::Settings,
    ];

    /// The word behind `toml` after a fence; none means programs.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Reader::Programs => "programs",
            Reader::Worker => "worker",
            Reader::Alert => "alert",
            Reader::Gateway => "gateway",
            Reader::Grants => "grants",
            Reader::Settings => "settings",
        }
    }
}

/// What the words after a fence say; none: the block is only read.
fn kind(info: &str, text: &str) -> Result<Option<Kind>, String> {
    let (language, rest) = info.split_once(' ').unwrap_or((info, ""));
    if NOT_OURS.contains(&language) {
        return Err(format!("commands are `sh` or `console`, not `{language}`"));
    }
    match (language, rest) {
        ("sh" | "console", rest) if !rest.is_empty() => match rest.strip_prefix("no-run: ") {
            Some(why) if !why.trim().is_empty() => Ok(Some(Kind::NotRun)),
            _ => Err(format!("`{rest}`: write `no-run: ` and the reason, or nothing")),
        },
        ("sh", _) => Ok(Some(Kind::Commands)),
        ("python", _) => Ok(Some(Kind::Python)),
        ("console", _) => Ok(Some(Kind::Session(steps(text)?))),
        (_, name) if name.contains('.') => Ok(Some(Kind::File(name.to_owned()))),
        ("toml", "") => Ok(Some(Kind::Part(Reader::Programs))),
        ("toml", word) => match Reader::ALL.into_iter().find(|reader| reader.word() == word) {
            Some(reader) => Ok(Some(Kind::Part(reader))),
            None => Err(format!("`{word}`: whose file is it? A name with a dot, or one of {}", {
                let words: Vec<&str> = Reader::ALL.iter().map(|reader| reader.word()).collect();
                words.join(", ")
            })),
        },
        _ => Ok(None),
    }
}

fn steps(text: &str) -> Result<Vec<Step>, String> {
    let mut steps: Vec<Step> = Vec::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { command: command.to_owned(), printed: String::new() });
        } else {
            let step = steps.last_mut().ok_or("a session begins with `$ `")?;
            step.printed.push_str(line);
            step.printed.push('\n');
        }
    }
    Ok(steps)
}

/// What of a line of output stays the same from run to run: no times, numbers, addresses and paths
/// of a machine, and no names of workers, any of which may be chosen. Names of instances stay.
pub(crate) fn lasting(line: &str) -> String {
    let words = line.split_whitespace().map(|word| {
        let edge = |c: char| matches!(c, ',' | ';' | '(' | ')' | '"' | '\'');
        let core = word.trim_matches(edge);
        word.replacen(core, &lasting_word(core), 1)
    });
    words.collect::<Vec<_>>().join(" ")
}

fn lasting_word(word: &str) -> String {
    let worker = word.strip_prefix('w').is_some_and(|number| number.parse::<u8>().is_ok());
    let uuid = word.len() == 36 && word.matches('-').count() == 4;
    if worker || uuid {
        return if worker { "WORKER" } else { "ID" }.to_owned();
    }
    if word.contains("://") || word.starts_with("/tmp") {
        return "PLACE".to_owned();
    }
    if !word.starts_with(|c: char| c.is_ascii_digit()) {
        return word.to_owned();
    }
    // 12, 5s, 0.31, 12:00:05.310, 2026-11-27T12:00:05Z, 1.5MiB
    "N".to_owned()
}

/// Whether what was printed is what the page says: `...` is any lines.
pub(crate) fn is_as_said(said: &str, printed: &str, any_order: bool) -> bool {
    let lines = |text: &str| -> Vec<String> {
        let mut lines: Vec<_> = text.lines().map(lasting).filter(|line| !line.is_empty()).collect();
        if any_order {
            lines.sort();
        }
        lines
    };
    fits(&lines(said), &lines(printed))
}

fn fits(said: &[String], printed: &[String]) -> bool {
    match said.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first == "..." => {
            (0..=printed.len()).any(|from| fits(rest, &printed[from..]))
        }
        Some((first, rest)) => printed.first() == Some(first) && fits(rest, &printed[1..]),
    }
}

#[test]
fn blocks_are_read() {
    let text = "<!-- fleet: --workers 1 -->\n```toml web.toml\na = 1\n```\n```toml\nb = 2\n```\n\
                ```toml worker\nc = 3\n```\n```json\n{}\n```\n```python\npass\n```\n\
                ```sh\ndsbus apply web.toml\n```\n```sh no-run: it needs systemd\nreboot\n```\n\
                ```console\n$ dsbus pid web\n12\n13\n$ true\n```\n";
    let page = Page::read("x.md", text).unwrap();
    assert_eq!(page.fleet.as_deref().unwrap(), ["--workers", "1"]);
    let kinds: Vec<_> = page.blocks.iter().map(|block| (block.line, &block.kind)).collect();
    let step = |command: &str, printed: &str| Step {
        command: command.to_owned(),
        printed: printed.to_owned(),
    };
    let session = Kind::Session(vec![step("dsbus pid web", "12\n13\n"), step("true", "")]);
    let file = Kind::File("web.toml".to_owned());
    let wanted = [
        (2, &file),
        (5, &Kind::Part(Reader::Programs)),
        (8, &Kind::Part(Reader::Worker)),
        (14, &Kind::Python),
        (17, &Kind::Commands),
        (20, &Kind::NotRun),
        (23, &session),
    ];
    assert_eq!(kinds, wanted);
    assert_eq!((page.not_run(), page.runs()), (1, true));
    assert!(Page::read("x.md", "<!-- fleet: none -->").unwrap().fleet.is_none());
    for wrong in [
        "```bash\nx\n```",
        "```toml wroker\nx\n```",
        "```sh later\nx\n```",
        "```sh no-run: \n```",
        "```sh\nx",
    ] {
        Page::read("x.md", wrong).unwrap_err();
    }
}

#[test]
fn what_differs_from_run_to_run_is_left_out() {
    for (said, printed, same) in [
        ("web:0  RUNNING  w1  12345  1  3s", "web:0 RUNNING w3 77 2 14s", true),
        ("web:0  RUNNING", "web:1  RUNNING", false),
        ("web:0  RUNNING", "web:0  STARTING", false),
        ("a\n...\nz", "a\nb\nc\nz", true),
        ("a\n...\nz", "a\nb\nc", false),
        ("at nats://127.0.0.1:4222 in /tmp/x", "at nats://h:1 in /tmp/y", true),
        ("a", "a\nb", false),
    ] {
        assert_eq!(is_as_said(said, printed, false), same, "{said} / {printed}");
    }
    assert!(is_as_said("a\nb", "b\na", true));
}

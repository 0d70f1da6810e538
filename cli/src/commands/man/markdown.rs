//! The reference of the command line, as Markdown: `docs/cli.md`. Pure.

use std::fmt::Write;

use clap::builder::StyledStr;
use clap::{Arg, ArgAction, Command};

const HEAD: &str = "# The command line

Made from the program itself by `./run schemas`: do not edit. `dsbus VERB --help` says the same, and `dsbus man VERB` as a manual page.
";

/// Their text is that of the keys in files.
const KEYS: &str = "Keys of the program";

/// The page of a command and all its verbs.
pub(super) fn page(mut command: Command) -> String {
    command.build();
    let mut page = HEAD.to_owned();
    if let Some(more) = command.get_after_help() {
        block(&mut page, more);
    }
    let globals: Vec<&Arg> = command.get_arguments().filter(|arg| arg.is_global_set()).collect();
    page.push_str("\n## Options of every verb\n\n");
    table(&mut page, &globals);
    // Those with keys of programs as options come last in the command: by name they are found.
    let mut verbs: Vec<&Command> =
        command.get_subcommands().filter(|verb| is_shown(verb)).collect();
    verbs.sort_by_key(|verb| verb.get_name());
    page.push_str("\n## Verbs\n\n| verb | does |\n| --- | --- |\n");
    for verb in &verbs {
        let (name, about) = (verb.get_name(), about(verb));
        let _ = writeln!(page, "| [{name}](#dsbus-{name}) | {} |", cell(&about));
    }
    for verb in verbs {
        section(&mut page, verb, "##", &format!("dsbus {}", verb.get_name()));
    }
    page
}

fn is_shown(command: &Command) -> bool {
    !command.is_hide_set() && command.get_name() != "help"
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn section(page: &mut String, command: &Command, level: &str, name: &str) {
    let _ = write!(page, "\n{level} {name}\n\n{}.\n", about(command).trim_end_matches('.'));
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let _ = write!(page, "\n```text\n{usage}\n```\n");
    let is_key = |arg: &&Arg| arg.get_help_heading().is_some_and(|head| head.starts_with(KEYS));
    let own = |arg: &&Arg| !arg.is_global_set() && !arg.is_hide_set() && arg.get_id() != "help";
    let (keys, args): (Vec<&Arg>, Vec<&Arg>) =
        command.get_arguments().filter(own).partition(is_key);
    if !args.is_empty() {
        page.push('\n');
        table(page, &args);
    }
    if !keys.is_empty() {
        let keys = "\nAnd every [key of a program](../bus-schema/program.md) as an option: \
                    `--numprocs 3`; a table is `--limits 'memory = \"1GB\", pids = 10'`.\n";
        page.push_str(keys);
    }
    if let Some(more) = command.get_after_help() {
        block(page, more);
    }
    for verb in command.get_subcommands().filter(|verb| is_shown(verb)) {
        section(page, verb, &format!("{level}#"), &format!("{name} {}", verb.get_name()));
    }
}

fn block(page: &mut String, text: &StyledStr) {
    let _ = write!(page, "\n```text\n{}\n```\n", text.to_string().trim());
}

fn table(page: &mut String, args: &[&Arg]) {
    page.push_str("| option | means |\n| --- | --- |\n");
    for arg in args {
        let _ = writeln!(page, "| {} | {} |", option(arg), cell(&meaning(arg)));
    }
}

/// `-o, --output FORMAT`, or `NAME...`
fn option(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let takes = !matches!(
        arg.get_action(),
        ArgAction::SetTrue | ArgAction::SetFalse | ArgAction::Count | ArgAction::Version
    );
    let values = names.iter().map(clap::builder::Str::as_str).collect::<Vec<_>>().join(" ");
    let several = arg.get_num_args().is_some_and(|count| count.max_values() > 1);
    let values = if several { format!("{values}...") } else { values };
    let words = [
        arg.get_short().map(|short| format!("-{short}")),
        arg.get_long().map(|long| format!("--{long}")),
    ];
    let words = words.into_iter().flatten().collect::<Vec<_>>().join(", ");
    match (words.is_empty(), takes) {
        (true, _) => format!("`{values}`"),
        (false, true) => format!("`{words} {values}`"),
        (false, false) => format!("`{words}`"),
    }
}

fn meaning(arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    // A longer help begins with a line that is a sentence without its end.
    let mut text = help.split("\n\n").map(sentence).collect::<Vec<_>>().join(" ");
    let values: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if !values.is_empty() && !matches!(arg.get_action(), ArgAction::SetTrue) {
        let _ = write!(text, " One of {}.", values.join(", "));
    }
    let defaults = arg.get_default_values().iter().filter_map(|value| value.to_str());
    let defaults: Vec<String> = defaults.map(|value| format!("`{value}`")).collect();
    if !defaults.is_empty() && !matches!(arg.get_action(), ArgAction::SetTrue) {
        let _ = write!(text, " Default: {}.", defaults.join(", "));
    }
    text
}

fn sentence(text: &str) -> String {
    let text = text.trim();
    let ended = text.is_empty() || text.ends_with(['.', '!', '?', ':']);
    if ended { text.to_owned() } else { format!("{text}.") }
}

/// A text as a cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|").replace('<', "\\<")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_has_its_options_and_its_own_verbs() {
        let json = Arg::new("output").short('o').long("output").value_name("FORMAT");
        let json = json.value_parser(["table", "json"]).default_value("table").help("How");
        let names = Arg::new("names").value_name("NAME").num_args(1..).required(true).help("a | b");
        let kill = Command::new("kill").about("Ends it");
        let hidden = Command::new("tied").hide(true);
        let verb = Command::new("dev").about("Tries").args([json, names]).subcommand(kill);
        let url = Arg::new("nats").long("nats").value_name("URL").global(true).help("The bus");
        let page = page(Command::new("dsbus").arg(url).subcommands([verb, hidden]));
        for part in [
            "| `--nats URL` | The bus. |\n",
            "| [dev](#dsbus-dev) | Tries |\n",
            "\n## dsbus dev\n\nTries.\n",
            "| `-o, --output FORMAT` | How. One of `table`, `json`. Default: `table`. |\n",
            "| `NAME...` | a \\| b. |\n",
            "\n### dsbus dev kill\n\nEnds it.\n",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("tied") && page.matches("--nats").count() == 1, "{page}");
    }
}

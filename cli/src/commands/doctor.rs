//! `dsbus doctor`: gathers, judges, prints. Nothing is changed.

mod facts;
mod finding;
mod gather;
mod grants;
mod judge;
#[cfg(test)]
mod tests;

use crate::args::{self, Format};
use crate::config::Config;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::output;
use finding::{Finding, Verdict};

/// Looks for what is wrong.
///
/// # Errors
/// When nobody reads what was found.
pub(super) async fn run(config: &Config, args: &args::Doctor) -> Result<Code, Failure> {
    let findings = judge::judge(&gather::gather(config).await);
    match args.output {
        Format::Data(data) => output::data(data, &findings)?,
        Format::Text(_) => {
            for line in findings.iter().flat_map(|finding| finding.lines(output::width())) {
                output::line(line)?;
            }
            output::success(summary(&findings))?;
        }
    }
    let wrong = findings.iter().any(|finding| finding.verdict == Verdict::Wrong);
    Ok(if wrong { Code::Failed } else { Code::Done })
}

fn summary(findings: &[Finding]) -> String {
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let (wrong, warnings) = (count(Verdict::Wrong), count(Verdict::Warning));
    let plural = |n: usize| if n == 1 { "" } else { "s" };
    match (wrong, warnings) {
        (0, 0) => "All is well.".to_owned(),
        (0, n) => format!("Nothing is wrong; {n} warning{}.", plural(n)),
        (n, 0) => format!("{n} thing{} wrong.", plural(n)),
        (n, more) => format!("{n} thing{} wrong, {more} warning{}.", plural(n), plural(more)),
    }
}

//! `dsbus enable NAME...`

use dsbus_schema::command::{Act, Acted, Verb};

use super::act;
use crate::args::{About, Format};
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::output;

/// Lets what was disabled be started again. It starts nothing.
///
/// # Errors
/// When it is refused, or nobody answers.
pub(super) async fn run(config: &Config, args: &About) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    let request = Act::new(act::envelope(), args.names.clone());
    let acted: Acted = connection.command(Verb::Enable, &request).await?;
    if let Format::Data(data) = args.output {
        output::data(data, &acted.instances)?;
        return Ok(Code::Done);
    }
    for instance in &acted.instances {
        let what = if instance.wanted.run {
            "enabled"
        } else {
            "enabled, and stopped until it is started"
        };
        output::success(format_args!("{}: {what}", instance.name))?;
    }
    Ok(Code::Done)
}

//! Templates: what rules and targets say.

mod context;

use dsbus_schema::alert::Letter;
use dsbus_schema::ids::FleetName;
use dsbus_schema::program::Problem;
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde_json::Value;

use crate::spec::{Body, Rule, Target, TargetKind};

pub(crate) use context::sample_letter;
pub use context::{Context, document};

/// Longest subject, in characters: a line.
const SUBJECT_MAX: usize = 200;
/// Longest text or body, in bytes.
const TEXT_MAX: usize = 256 * 1024;
/// How much work a template may be: many times what a message of ten events needs.
const FUEL: u64 = 200_000;

const SUBJECT: &str = include_str!("texts/subject.txt");
const TEXT: &str = include_str!("texts/text.txt");

/// Templates, ready to be used.
#[derive(Debug)]
pub struct Texts {
    environment: Environment<'static>,
}

/// A template cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct TextError {
    /// The key of the template.
    pub key: &'static str,
    /// Whether it is the rule's; else it is the target's.
    pub of_rule: bool,
    /// What is wrong.
    pub why: String,
}

/// What is said to a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// On one line.
    pub subject: String,
    /// For people.
    pub text: String,
    /// Of a webhook: what is sent, and its media type.
    pub body: Option<(String, String)>,
}

impl Default for Texts {
    fn default() -> Texts {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        // A line that holds only a block is no line of the text.
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        // Building fails for delimiters of one's own, and these are the usual ones.
        environment.set_syntax(syntax.unwrap_or_default());
        environment.add_filter("slack", slack);
        Texts { environment }
    }
}

impl Texts {
    /// Whether a template can be read, and names only what is known.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn check(&self, key: &str, template: &str) -> Result<(), Problem> {
        let compiled = self.environment.template_from_str(template);
        let compiled = compiled.map_err(|e| Problem::new(key, said(&e)))?;
        let names = context::names();
        let global = |name: &str| self.environment.globals().any(|(global, _)| global == name);
        let mut strange = compiled.undeclared_variables(false).into_iter().collect::<Vec<_>>();
        strange.retain(|name| !names.contains(name) && !global(name));
        strange.sort();
        let Some(strange) = strange.first() else { return Ok(()) };
        let known = names.into_iter().collect::<Vec<_>>().join(", ");
        let problem = Problem::new(key, format!("{strange} is not known in a template"));
        Err(problem.hint(format!("known are {known}")))
    }

    /// As [`Texts::check`], for the texts within a JSON value.
    ///
    /// # Errors
    /// What is wrong with the first one that is wrong.
    pub(crate) fn check_all(&self, key: &str, value: &Value) -> Result<(), Problem> {
        match value {
            Value::String(text) => self.check(key, text),
            Value::Array(items) => items.iter().try_for_each(|item| self.check_all(key, item)),
            Value::Object(map) => map.values().try_for_each(|item| self.check_all(key, item)),
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        }
    }

    /// What goes wrong when the templates of a rule and a target are used on events that did not
    /// happen.
    pub(crate) fn try_out(&self, rule: &Rule, target: &Target) -> Option<TextError> {
        let letters = context::samples(&rule.name).into_iter();
        let mut said = letters.map(|l| self.say(&FleetName::default(), Some(rule), target, &l));
        said.find_map(Result::err)
    }

    /// What a letter says to its target.
    ///
    /// # Errors
    /// When a template fails, gives too much, or does not give JSON where it must.
    pub fn say(
        &self,
        fleet: &FleetName,
        rule: Option<&Rule>,
        target: &Target,
        letter: &Letter,
    ) -> Result<Said, TextError> {
        let mut context = Context::new(fleet, letter);
        let of_rule = |key, of: fn(&Rule) -> &Option<String>, usual: &str| {
            let template = rule.and_then(|rule| of(rule).as_deref());
            let rendered = self.render(key, template.unwrap_or(usual), &context);
            rendered.map_err(|e| TextError { of_rule: template.is_some(), ..e })
        };
        let subject = one_line(&of_rule("subject", |rule| &rule.subject, SUBJECT)?);
        let text = of_rule("text", |rule| &rule.text, TEXT)?;
        context.set(&subject, &text);
        match &target.kind {
            TargetKind::Command(_) => Ok(Said { subject, text, body: None }),
            TargetKind::Mail(mail) => {
                let given = |key, template: &Option<String>, usual: String| match template {
                    Some(template) => self.render(key, template, &context),
                    None => Ok(usual),
                };
                let subject = one_line(&given("subject", &mail.subject, subject)?);
                Ok(Said { subject, text: given("text", &mail.text, text)?, body: None })
            }
            TargetKind::Webhook(webhook) => {
                let json = "application/json".to_owned();
                let (body, media) = match &webhook.body {
                    Body::Document => (document(&context).to_string(), json),
                    Body::Json(value) => (self.json(value, &context)?.to_string(), json),
                    Body::Text { template, content_type } => {
                        let body = self.render("body", template, &context)?;
                        must_be_json(&body, content_type)?;
                        (body, content_type.clone())
                    }
                };
                Ok(Said { subject, text, body: Some((body, media)) })
            }
        }
    }

    fn render(
        &self,
        key: &'static str,
        template: &str,
        context: &Context,
    ) -> Result<String, TextError> {
        let wrong = |why| TextError { key, of_rule: false, why };
        let rendered = self.environment.render_str(template, context.value());
        let rendered = rendered.map_err(|e| wrong(said(&e)))?;
        if rendered.len() > TEXT_MAX {
            return Err(wrong(format!("gives more than {TEXT_MAX} bytes")));
        }
        Ok(rendered)
    }

    /// A JSON value whose texts are templates.
    fn json(&self, value: &Value, context: &Context) -> Result<Value, TextError> {
        Ok(match value {
            Value::String(template) => Value::String(self.render("json", template, context)?),
            Value::Array(items) => {
                let items = items.iter().map(|item| self.json(item, context));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            Value::Object(map) => {
                let pairs = map.iter().map(|(k, v)| Ok((k.clone(), self.json(v, context)?)));
                Value::Object(pairs.collect::<Result<_, TextError>>()?)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        })
    }
}

/// What is wrong with a template, on one line.
fn said(e: &minijinja::Error) -> String {
    let line = e.line().map(|line| format!(" (line {line} of the template)")).unwrap_or_default();
    let detail = e.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    format!("{}{detail}{line}", e.kind())
}

fn must_be_json(body: &str, content_type: &str) -> Result<(), TextError> {
    let media = content_type.split(';').next().unwrap_or_default().trim();
    if media != "application/json" && !media.ends_with("+json") {
        return Ok(());
    }
    let read: Result<serde::de::IgnoredAny, _> = serde_json::from_str(body);
    read.map(drop).map_err(|e| TextError {
        key: "body",
        of_rule: false,
        why: format!(
            "does not give JSON: {e}; texts within JSON are written {{{{ text | tojson }}}}"
        ),
    })
}

/// What Slack asks for: `<!channel>` in the output of a program must call nobody.
fn slack(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A subject is one line, and not too long.
fn one_line(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(SUBJECT_MAX) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words,
    }
}

#[cfg(test)]
mod tests;

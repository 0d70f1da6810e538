//! What somebody asks: an XML-RPC call, read as leniently as Supervisor reads it. Pure.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

use super::value::Value;

/// Most elements within each other: an argument is a text or a number, those of a multicall lie
/// deeper, and each element takes memory.
const DEPTH_MAX: usize = 64;

/// A call.
#[derive(Debug, PartialEq)]
pub(super) struct Request {
    /// `supervisor.getState`.
    pub(super) method: String,
    /// Arguments.
    pub(super) params: Vec<Value>,
}

/// What was asked cannot be read; Supervisor answers 400.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable(pub(super) String);

#[expect(clippy::needless_pass_by_value, reason = "errors are given as they come")]
fn unreadable(why: impl ToString) -> Unreadable {
    Unreadable(why.to_string())
}

/// An element whose end is still to come.
#[derive(Debug, Default)]
struct Element {
    tag: String,
    /// What it says before its first child.
    text: String,
    /// Its children, as they were read, and what each is.
    children: Vec<Value>,
}

/// What is left of the call while it is read.
#[derive(Debug, Default)]
struct Reading {
    method: Option<String>,
    params: Option<Vec<Value>>,
}

/// Reads a call.
///
/// # Errors
/// When it is no XML, or an element does not hold what it should.
pub(super) fn read(xml: &str) -> Result<Request, Unreadable> {
    let mut reader = Reader::from_str(xml);
    let (mut open, mut reading, mut roots) = (Vec::<Element>::new(), Reading::default(), 0);
    loop {
        let event = reader.read_event().map_err(unreadable)?;
        let text: Cow<'_, str> = match event {
            Event::Eof => break,
            Event::Start(start) => {
                if open.len() >= DEPTH_MAX {
                    return Err(unreadable("its elements lie too deep"));
                }
                roots += usize::from(open.is_empty());
                let tag = name(start.name().as_ref());
                open.push(Element { tag, ..Element::default() });
                continue;
            }
            Event::Empty(empty) => {
                roots += usize::from(open.is_empty());
                let element = Element { tag: name(empty.name().as_ref()), ..Element::default() };
                close(element, &mut open, &mut reading)?;
                continue;
            }
            Event::End(_) => {
                let Some(element) = open.pop() else { return Err(unreadable("an end too many")) };
                close(element, &mut open, &mut reading)?;
                continue;
            }
            Event::Text(text) => text.xml10_content(),
            Event::CData(text) => text.xml10_content(),
            Event::GeneralRef(reference) => match reference.resolve_char_ref() {
                Ok(Some(char)) => char.to_string().into(),
                Ok(None) => {
                    let known = resolve_predefined_entity(&reference);
                    known.ok_or_else(|| unreadable("an entity that is not known"))?.into()
                }
                Err(e) => return Err(unreadable(e)),
            },
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => continue,
        };
        match open.last_mut() {
            Some(element) if element.children.is_empty() => element.text.push_str(&text),
            Some(_) => {}
            None if text.trim().is_empty() => {}
            None => return Err(unreadable("text outside of any element")),
        }
    }
    if !open.is_empty() || roots != 1 {
        return Err(unreadable("it does not end as it begins"));
    }
    match reading.method.filter(|method| !method.is_empty()) {
        Some(method) => Ok(Request { method, params: reading.params.unwrap_or_default() }),
        None => Err(unreadable("it names no method")),
    }
}

fn name(tag: &str) -> String {
    tag.to_owned()
}

/// Reads an element that has ended, as Supervisor does.
fn close(element: Element, open: &mut [Element], reading: &mut Reading) -> Result<(), Unreadable> {
    let Element { tag, text, mut children } = element;
    let missing = || unreadable(format!("<{tag}> holds nothing"));
    let value = match tag.as_str() {
        "int" | "i4" => {
            Value::Int(text.trim().parse().map_err(|_| unreadable("a number that is none"))?)
        }
        "boolean" => Value::Bool(text == "1"),
        "string" => Value::Text(text),
        "double" => {
            Value::Double(text.trim().parse().map_err(|_| unreadable("a number that is none"))?)
        }
        "base64" => {
            let bare: String = text.chars().filter(|c| !c.is_whitespace()).collect();
            let bytes = BASE64_STANDARD.decode(bare).map_err(unreadable)?;
            Value::Text(String::from_utf8(bytes).map_err(unreadable)?)
        }
        "array" | "param" if children.is_empty() => return Err(missing()),
        "array" | "param" => children.swap_remove(0),
        "value" if children.is_empty() => Value::Text(text),
        "value" => children.swap_remove(0),
        "data" | "member" => Value::Array(children),
        "struct" => {
            let mut members = Vec::with_capacity(children.len());
            for member in children {
                let Value::Array(pair) = member else { return Err(missing()) };
                let Ok([key, value]) = <[Value; 2]>::try_from(pair) else {
                    return Err(unreadable("a member that is no pair"));
                };
                let Value::Text(key) = key else { return Err(unreadable("a name that is none")) };
                members.push((Cow::Owned(key), value));
            }
            Value::Struct(members)
        }
        "methodName" => {
            reading.method = Some(text);
            Value::Nil
        }
        "params" => {
            reading.params = Some(children);
            Value::Nil
        }
        // The name of a member, and what XML-RPC does not know.
        "name" => Value::Text(text),
        _ if text.is_empty() => Value::Nil,
        _ => Value::Text(text),
    };
    if let Some(parent) = open.last_mut() {
        parent.children.push(value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(params: &str) -> String {
        format!(
            "<?xml version='1.0'?>\n<methodCall>\n<methodName>a.b</methodName>\n{params}</methodCall>\n"
        )
    }

    #[test]
    fn what_pythons_client_sends_is_read() {
        let nested = "<params>\n<param>\n<value><array><data>\n<value><struct>\n<member>\n<name>methodName</name>\n\
            <value><string>x.y</string></value>\n</member>\n<member>\n<name>params</name>\n<value><array><data>\n\
            <value><int>-1</int></value>\n</data></array></value>\n</member>\n</struct></value>\n</data></array></value>\n\
            </param>\n<param><value><boolean>1</boolean></value></param>\n</params>\n";
        let inner = Value::Struct(vec![
            ("methodName".into(), "x.y".into()),
            ("params".into(), Value::Array(vec![Value::Int(-1)])),
        ]);
        for (params, read_as) in [
            ("", vec![]),
            ("<params/>", vec![]),
            ("<params>\n</params>\n", vec![]),
            ("<params><param><value>bare</value></param></params>", vec!["bare".into()]),
            ("<params><param><value></value></param></params>", vec!["".into()]),
            ("<params><param><value><string/></value></param></params>", vec!["".into()]),
            (
                "<params><param><value><string>a&lt;b&amp;&#228;&#x41;<![CDATA[<c>]]></string></value></param></params>",
                vec!["a<b&äA<c>".into()],
            ),
            ("<params><param><value><i4> 7 </i4></value></param></params>", vec![Value::Int(7)]),
            ("<params><param><value><nil/></value></param></params>", vec![Value::Nil]),
            (
                "<params><param><value><base64>\nZ3LD\nvMOf\n</base64></value></param></params>",
                vec!["grüß".into()],
            ),
            (
                "<params><param><value><double>1.5</double></value></param></params>",
                vec![Value::Double(1.5)],
            ),
            (nested, vec![Value::Array(vec![inner]), true.into()]),
        ] {
            let found = read(&call(params));
            assert_eq!(
                found,
                Ok(Request { method: "a.b".to_owned(), params: read_as }),
                "{params}"
            );
        }
    }

    #[test]
    fn what_is_no_call_is_refused() {
        let deep = "<a>".repeat(200);
        for xml in [
            "",
            "hello",
            "<methodCall>",
            "<methodCall/>",
            "<methodCall><methodName/></methodCall>",
            "<methodCall><methodName>a.b</methodName></methodCal>",
            "<methodCall><methodName>a.b</methodName></methodCall><again/>",
            "<methodCall><methodName>a.b</methodName></methodCall></methodCall>",
            "<methodCall><methodName>&unknown;</methodName></methodCall>",
            &call("<params><param><value><int>x</int></value></param></params>"),
            &call("<params><param/></params>"),
            &call("<params><param><value><array/></value></param></params>"),
            &call("<params><param><value><base64>%</base64></value></param></params>"),
            &call(
                "<params><param><value><struct><member><name>a</name></member></struct></value></param></params>",
            ),
            &deep,
        ] {
            assert!(read(xml).is_err(), "{xml}");
        }
    }
}

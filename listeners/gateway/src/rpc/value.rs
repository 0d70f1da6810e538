//! Values of XML-RPC, and how they are written. Pure.

use std::borrow::Cow;
use std::fmt::Write;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// Nothing; Supervisor's clients cannot be sent one.
    Nil,
    /// A whole number.
    Int(i64),
    /// True or false.
    Bool(bool),
    /// A number.
    Double(f64),
    /// A text.
    Text(String),
    /// Several values.
    Array(Vec<Value>),
    /// Values by name.
    Struct(Vec<(Cow<'static, str>, Value)>),
    /// Something that is written already, as [`Value::write`] would.
    Written(String),
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Int(number)
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Value {
        Value::Int(number.into())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Value {
        Value::Int(number.into())
    }
}

impl Value {
    /// A struct of these members.
    pub(super) fn of<const N: usize>(members: [(&'static str, Value); N]) -> Value {
        Value::Struct(members.into_iter().map(|(key, value)| (Cow::Borrowed(key), value)).collect())
    }

    /// A member of a struct.
    pub(super) fn member(&self, key: &str) -> Option<&Value> {
        let Value::Struct(members) = self else { return None };
        members.iter().rev().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    /// As Python would print it in a fault: Supervisor's faults repeat what was given.
    pub(super) fn shown(&self) -> String {
        match self {
            Value::Nil => "None".to_owned(),
            Value::Int(number) => number.to_string(),
            Value::Bool(true) => "True".to_owned(),
            Value::Bool(false) => "False".to_owned(),
            Value::Double(number) => number.to_string(),
            Value::Text(text) | Value::Written(text) => text.clone(),
            Value::Array(_) => "[...]".to_owned(),
            Value::Struct(_) => "{...}".to_owned(),
        }
    }

    /// How many bytes of memory it takes, about.
    pub(super) fn size(&self) -> usize {
        let inside = match self {
            Value::Nil | Value::Int(_) | Value::Bool(_) | Value::Double(_) => 0,
            Value::Text(text) | Value::Written(text) => text.len(),
            Value::Array(values) => values.iter().map(Value::size).sum(),
            Value::Struct(members) => members.iter().map(|(k, v)| k.len() + v.size()).sum(),
        };
        size_of::<Value>() + inside
    }

    /// Writes it as XML.
    pub(super) fn write(&self, xml: &mut String) {
        // Writing to text does not fail.
        let _ = match self {
            Value::Nil => write!(xml, "<value><nil/></value>"),
            Value::Int(number) => write!(xml, "<value><int>{number}</int></value>"),
            Value::Bool(value) => {
                write!(xml, "<value><boolean>{}</boolean></value>", u8::from(*value))
            }
            Value::Double(number) => write!(xml, "<value><double>{number}</double></value>"),
            Value::Text(text) => {
                xml.push_str("<value><string>");
                escape(text, xml);
                xml.push_str("</string></value>");
                Ok(())
            }
            Value::Array(values) => {
                xml.push_str("<value><array><data>\n");
                for value in values {
                    value.write(xml);
                    xml.push('\n');
                }
                xml.push_str("</data></array></value>");
                Ok(())
            }
            Value::Struct(members) => {
                xml.push_str("<value><struct>\n");
                for (key, value) in members {
                    xml.push_str("<member><name>");
                    escape(key, xml);
                    xml.push_str("</name>");
                    value.write(xml);
                    xml.push_str("</member>\n");
                }
                xml.push_str("</struct></value>");
                Ok(())
            }
            Value::Written(written) => {
                xml.push_str(written);
                Ok(())
            }
        };
    }
}

/// Writes a text. What XML cannot say becomes U+FFFD: the terminal escapes of a log would make all of
/// an answer unreadable. A carriage return is written so that readers keep it.
pub(super) fn escape(text: &str, xml: &mut String) {
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        let said = match byte {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'\r' => "&#13;",
            b'\t' | b'\n' => continue,
            0..0x20 => "\u{FFFD}",
            // U+FFFE and U+FFFF are EF BF BE and EF BF BF.
            0xBE | 0xBF if at >= 2 && text.as_bytes()[at - 2..at] == [0xEF, 0xBF] => {
                xml.push_str(&text[plain..at - 2]);
                xml.push('\u{FFFD}');
                plain = at + 1;
                continue;
            }
            _ => continue,
        };
        xml.push_str(&text[plain..at]);
        xml.push_str(said);
        plain = at + 1;
    }
    xml.push_str(&text[plain..]);
}

/// A whole answer.
pub(super) fn response(value: &Value) -> String {
    let mut xml = String::from("<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n");
    value.write(&mut xml);
    xml.push_str("\n</param>\n</params>\n</methodResponse>\n");
    xml
}

/// A whole answer that is a fault.
pub(super) fn fault(value: &Value) -> String {
    let mut xml = String::from("<?xml version='1.0'?>\n<methodResponse>\n<fault>\n");
    value.write(&mut xml);
    xml.push_str("\n</fault>\n</methodResponse>\n");
    xml
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_and_always_xml() {
        for (text, written) in [
            ("plain grüße", "plain grüße"),
            ("a<b>&c", "a&lt;b&gt;&amp;c"),
            ("\x1b[1mbold\r\n\t\0", "\u{FFFD}[1mbold&#13;\n\t\u{FFFD}"),
            ("\u{FFFD}x\u{FFFE}y\u{FFFF}", "\u{FFFD}x\u{FFFD}y\u{FFFD}"),
            ("\u{1F980}\u{BFBF}", "\u{1F980}\u{BFBF}"),
            ("", ""),
        ] {
            let mut xml = String::new();
            escape(text, &mut xml);
            assert_eq!(xml, written, "{text:?}");
        }
    }

    #[test]
    fn values_are_written_as_python_reads_them() {
        let value = Value::of([
            ("a", Value::Array(vec![1.into(), true.into(), "x".into()])),
            ("b", Value::Written("<value><int>7</int></value>".to_owned())),
        ]);
        let mut xml = String::new();
        value.write(&mut xml);
        assert_eq!(
            xml,
            "<value><struct>\n<member><name>a</name><value><array><data>\n<value><int>1</int></value>\n\
             <value><boolean>1</boolean></value>\n<value><string>x</string></value>\n\
             </data></array></value></member>\n<member><name>b</name><value><int>7</int></value></member>\n\
             </struct></value>"
        );
        assert_eq!(value.member("a").map(Value::shown).as_deref(), Some("[...]"));
    }
}

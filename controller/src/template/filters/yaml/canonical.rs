//! YAML that names the type of every value, `to_yaml(canonical=true)`: brackets, one entry a line, all text in quotes.

use rustle_protocol::value::Value;

use super::{Writer, escaped, word};

impl Writer {
    /// Writes a value that stands in an entry indented by `indent`.
    pub(super) fn canonical(&mut self, value: &Value, indent: usize) {
        let inner = indent + self.indent;
        match value {
            Value::List(items) => {
                self.put("!!seq [");
                for item in items {
                    self.line(inner);
                    self.canonical(item, inner);
                    self.put(",");
                }
                self.closing("]", !items.is_empty(), indent);
            }
            Value::Map(map) => {
                self.put("!!map {");
                let entries: Vec<(String, Value)> =
                    self.entries(map).into_iter().map(|(key, item)| (key.clone(), item.clone())).collect();
                for (key, item) in &entries {
                    self.line(inner);
                    self.put("? ");
                    self.tagged("str", key, inner);
                    self.line(inner);
                    self.put(": ");
                    self.canonical(item, inner);
                    self.put(",");
                }
                self.closing("}", !entries.is_empty(), indent);
            }
            Value::Null => self.tagged("null", &word(value), indent),
            Value::Bool(_) => self.tagged("bool", &word(value), indent),
            Value::Int(_) | Value::UInt(_) => self.tagged("int", &word(value), indent),
            Value::Float(_) => self.tagged("float", &word(value), indent),
            Value::String(text) => self.tagged("str", text, indent),
            Value::Bytes(bytes) => self.tagged("str", &String::from_utf8_lossy(bytes), indent),
        }
    }

    fn closing(&mut self, bracket: &str, has_entries: bool, indent: usize) {
        if has_entries {
            self.line(indent);
        }
        self.put(bracket);
    }

    /// A quoted text with its type; it goes on in the next line after a blank where the line is full.
    fn tagged(&mut self, kind: &str, text: &str, indent: usize) {
        self.put(&format!("!!{kind} \""));
        let mut words = text.split(' ').peekable();
        while let Some(word) = words.next() {
            self.put(&escaped(word));
            // A blank beside another, or at an end, is no place for a break.
            let Some(next) = words.peek() else { break };
            let stands_alone = !next.is_empty() && !word.is_empty();
            if self.column > self.width && stands_alone {
                self.line(indent + self.indent);
            } else {
                self.put(" ");
            }
        }
        self.put("\"");
    }
}

//! Commands (specification 7.2): a name, a transaction number and AMF0 values.

use crate::tag::amf0::{self, Value};

use super::super::error::Error;

/// A command with everything behind its transaction: command object first, then arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    pub name: String,
    /// 0 asks for no answer.
    pub transaction: f64,
    pub values: Vec<Value>,
}

impl Command {
    pub fn new(name: &str, transaction: f64, values: Vec<Value>) -> Self {
        Command {
            name: name.to_owned(),
            transaction,
            values,
        }
    }

    /// `offset` is where the message ended. A missing transaction is 0; values behind one that is no AMF0 are left out
    /// (encoders with odd fields), as long as the name is there.
    pub fn parse(body: &[u8], offset: u64) -> Result<Command, Error> {
        let (name, mut at) = amf0::parse(body).map_err(|source| Error::Command { offset, source })?;
        let Value::String(name) = name else {
            return Err(Error::CommandWithoutName { offset });
        };
        let mut values = Vec::new();
        while at < body.len() {
            let Ok((value, bytes)) = amf0::parse(&body[at..]) else {
                break;
            };
            at += bytes;
            values.push(value);
        }
        let transaction = match values.first().and_then(Value::as_number) {
            Some(transaction) => {
                values.remove(0);
                transaction
            }
            None => 0.0,
        };
        Ok(Command {
            name,
            transaction,
            values,
        })
    }

    pub fn emit(&self, out: &mut Vec<u8>) {
        Value::from(self.name.as_str()).emit(out);
        Value::Number(self.transaction).emit(out);
        for value in &self.values {
            value.emit(out);
        }
    }

    /// The command object.
    pub fn object(&self) -> &Value {
        self.argument(0)
    }

    /// Value `nth` behind the transaction, [`Value::Undefined`] where there is none.
    pub fn argument(&self, nth: usize) -> &Value {
        self.values.get(nth).unwrap_or(&Value::Undefined)
    }
}

/// `{level, code, description}`, with which a server says how something went.
pub fn status(level: &str, code: &str, description: &str) -> Vec<(String, Value)> {
    [("level", level), ("code", code), ("description", description)]
        .into_iter()
        .map(|(name, text)| (name.to_owned(), Value::from(text)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_parse_back_and_odd_ones_are_tolerated() {
        let publish = Command::new("publish", 5.0, vec![Value::Null, "live".into(), "live".into()]);
        let mut body = Vec::new();
        publish.emit(&mut body);
        assert_eq!(Command::parse(&body, 0), Ok(publish.clone()));
        body.extend_from_slice(&[0x11, 1, 2]);
        assert_eq!(Command::parse(&body, 0), Ok(publish), "AMF3 behind the last value");

        let mut bare = Vec::new();
        Value::from("FCPublish").emit(&mut bare);
        assert_eq!(Command::parse(&bare, 0), Ok(Command::new("FCPublish", 0.0, vec![])));
        assert_eq!(*Command::new("x", 0.0, vec![]).argument(3), Value::Undefined);

        let mut number = Vec::new();
        Value::Number(1.0).emit(&mut number);
        assert_eq!(Command::parse(&number, 9), Err(Error::CommandWithoutName { offset: 9 }));
        assert!(matches!(Command::parse(&[], 9), Err(Error::Command { offset: 9, .. })));
    }
}

//! Script data: `onMetaData` as hints, everything else as JSON text.

use serde_json::{Map, Number, Value as Json};

use crate::tag::Error;
use crate::tag::amf0::{self, Value};

/// What `onMetaData` says. Only hints: encoders announce tracks that never come, and the wrong codec.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Hints {
    pub video: Option<bool>,
    pub audio: Option<bool>,
    pub width: u32,
    pub height: u32,
    pub frame_rate: f64,
    /// Bits per second.
    pub video_bitrate: u32,
    pub audio_bitrate: u32,
}

/// A message of script data.
#[derive(Debug, PartialEq)]
pub(super) enum Script {
    Metadata(Hints),
    /// JSON text of anything else that has a name.
    Named(String),
    /// Commands about script data, which carry none.
    Nothing,
}

/// Reads a message of type 18, or of type 15, which has a byte 0 in front and is AMF0 behind it all the same.
///
/// Values before the name are passed over (Uniview sends a number), and what cannot be read behind the name is left
/// out.
pub(super) fn parse(body: &[u8]) -> Result<Script, Error> {
    let plain = values(body);
    let wrapped = match body {
        [0, rest @ ..] => Some(values(rest)),
        _ => None,
    };
    // A number's marker is 0 too: the reading that finds a name is the right one.
    let (values, failure) = [Some(plain), wrapped]
        .into_iter()
        .flatten()
        .max_by_key(|(values, failure)| (name_at(values).is_some(), failure.is_none()))
        .unwrap_or_default();
    let Some(at) = name_at(&values) else {
        return Err(failure.map_or(Error::Nameless { bytes: body.len() }, Error::Script));
    };
    let (name, rest) = match (values[at].as_str(), values.get(at + 1).and_then(Value::as_str)) {
        (Some("@setDataFrame"), Some(name)) => (name, &values[at + 2..]),
        (Some(name), _) => (name, &values[at + 1..]),
        (None, _) => return Err(Error::Nameless { bytes: body.len() }),
    };
    Ok(match name {
        "onMetaData" => Script::Metadata(
            rest.iter()
                .find(|value| value.members().is_some())
                .map(hints)
                .unwrap_or_default(),
        ),
        "@setDataFrame" | "@clearDataFrame" | "|RtmpSampleAccess" => Script::Nothing,
        name => Script::Named(text(name, rest)),
    })
}

fn name_at(values: &[Value]) -> Option<usize> {
    values
        .iter()
        .position(|value| value.as_str().is_some_and(|name| !name.is_empty()))
}

fn values(body: &[u8]) -> (Vec<Value>, Option<amf0::Error>) {
    let (mut values, mut rest) = (Vec::new(), body);
    while !rest.is_empty() && values.len() < amf0::limits::VALUES_MAX {
        match amf0::parse(rest) {
            Ok((value, taken)) => {
                values.push(value);
                rest = &rest[taken..];
            }
            Err(error) => return (values, Some(error)),
        }
    }
    (values, None)
}

fn hints(metadata: &Value) -> Hints {
    let number = |name: &str| {
        let value = metadata.member(name)?;
        let number = match value {
            Value::String(text) => text.trim().parse().ok()?,
            value => value.as_number()?,
        };
        (number.is_finite() && number > 0.0).then_some(number)
    };
    // `as` stops at the bounds of u32.
    let whole = |name: &str| number(name).unwrap_or(0.0) as u32;
    let bitrate = |name: &str| (number(name).unwrap_or(0.0) * 1000.0) as u32;
    let (width, height) = (whole("width"), whole("height"));
    Hints {
        video: announces(metadata, "hasVideo", "videocodecid").or((width > 0 && height > 0).then_some(true)),
        audio: announces(metadata, "hasAudio", "audiocodecid"),
        width,
        height,
        frame_rate: number("framerate").or(number("fps")).unwrap_or(0.0).min(1000.0),
        video_bitrate: bitrate("videodatarate"),
        audio_bitrate: bitrate("audiodatarate"),
    }
}

/// A codec number of 0 is no codec to video encoders and PCM to audio ones: it says nothing.
fn announces(metadata: &Value, has: &str, codec: &str) -> Option<bool> {
    if let Some(said) = metadata.member(has).and_then(Value::as_bool) {
        return Some(said);
    }
    match metadata.member(codec)? {
        Value::Number(number) => (*number > 0.0).then_some(true),
        Value::String(name) => (!name.is_empty()).then_some(true),
        _ => None,
    }
}

fn text(name: &str, values: &[Value]) -> String {
    let mut object = Map::new();
    object.insert("name".to_owned(), Json::from(name));
    object.insert("values".to_owned(), Json::Array(values.iter().map(json).collect()));
    Json::Object(object).to_string()
}

fn json(value: &Value) -> Json {
    match value {
        Value::Number(number) => json_number(*number),
        Value::Boolean(truth) => Json::Bool(*truth),
        Value::String(text) | Value::Xml(text) => Json::String(text.clone()),
        Value::Object(members) | Value::EcmaArray(members) | Value::Typed { members, .. } => Json::Object(
            members
                .iter()
                .map(|(name, value)| (name.clone(), json(value)))
                .collect(),
        ),
        Value::StrictArray(values) => Json::Array(values.iter().map(json).collect()),
        Value::Date { millis, .. } => json_number(*millis),
        Value::Null | Value::Undefined | Value::Reference(_) | Value::Unsupported => Json::Null,
    }
}

fn json_number(number: f64) -> Json {
    // AMF0 has no integers; what is one is written as one.
    if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 {
        return Json::from(number as i64);
    }
    Number::from_f64(number).map_or(Json::Null, Json::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emit(values: &[Value]) -> Vec<u8> {
        let mut out = Vec::new();
        for value in values {
            value.emit(&mut out);
        }
        out
    }

    fn metadata() -> Value {
        Value::EcmaArray(vec![
            ("width".into(), 640.0.into()),
            ("height".into(), "360".into()),
            ("framerate".into(), 25.0.into()),
            ("videocodecid".into(), 7.0.into()),
            ("audiocodecid".into(), "mp4a".into()),
            ("audiodatarate".into(), 128.0.into()),
            ("videodatarate".into(), f64::NAN.into()),
        ])
    }

    #[test]
    fn metadata_in_every_wrapping() {
        let expected = Hints {
            video: Some(true),
            audio: Some(true),
            width: 640,
            height: 360,
            frame_rate: 25.0,
            video_bitrate: 0,
            audio_bitrate: 128_000,
        };
        let bare = emit(&["onMetaData".into(), metadata()]);
        let wrapped = emit(&["@setDataFrame".into(), "onMetaData".into(), metadata()]);
        for body in [
            bare.clone(),
            wrapped.clone(),
            emit(&[1.0.into(), "@setDataFrame".into(), "onMetaData".into(), metadata()]),
            emit(&[0.0.into(), Value::Null, "onMetaData".into(), metadata()]),
            [&[0][..], &bare].concat(),
            [&[0][..], &wrapped].concat(),
            [&bare[..], &[0x11, 0x22]].concat(),
        ] {
            assert_eq!(parse(&body), Ok(Script::Metadata(expected.clone())), "{body:02x?}");
        }
    }

    #[test]
    fn what_metadata_leaves_unsaid_is_none() {
        for (members, video, audio) in [
            (vec![], None, None),
            (vec![("hasVideo", Value::Boolean(false))], Some(false), None),
            (
                vec![("videocodecid", 0.0.into()), ("audiocodecid", 10.0.into())],
                None,
                Some(true),
            ),
            (vec![("width", 1.0.into()), ("height", 1.0.into())], Some(true), None),
        ] {
            let members = members
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect();
            let body = emit(&["onMetaData".into(), Value::Object(members)]);
            let Ok(Script::Metadata(hints)) = parse(&body) else {
                panic!("no metadata in {body:02x?}");
            };
            assert_eq!((hints.video, hints.audio), (video, audio));
        }
    }

    #[test]
    fn other_names_become_json() {
        for (values, expected) in [
            (
                vec!["onTextData".into(), Value::Object(vec![("text".into(), "hé\"".into())])],
                r#"{"name":"onTextData","values":[{"text":"hé\""}]}"#,
            ),
            (
                vec![
                    "onX".into(),
                    1.5.into(),
                    f64::INFINITY.into(),
                    Value::StrictArray(vec![true.into()]),
                ],
                r#"{"name":"onX","values":[1.5,null,[true]]}"#,
            ),
            (vec!["onY".into()], r#"{"name":"onY","values":[]}"#),
            (
                vec!["@setDataFrame".into(), "timecode".into(), 3.0.into()],
                r#"{"name":"timecode","values":[3]}"#,
            ),
        ] {
            assert_eq!(parse(&emit(&values)), Ok(Script::Named(expected.to_owned())));
        }
        assert_eq!(
            parse(&emit(&["@clearDataFrame".into(), "onMetaData".into()])),
            Ok(Script::Nothing)
        );
    }

    #[test]
    fn no_name_is_an_error() {
        assert_eq!(parse(b""), Err(Error::Nameless { bytes: 0 }));
        assert_eq!(parse(b"\x05"), Err(Error::Nameless { bytes: 1 }));
        assert!(matches!(
            parse(b"\x04\x00"),
            Err(Error::Script(amf0::Error::UnknownMarker { .. }))
        ));
    }
}

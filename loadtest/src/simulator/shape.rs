//! What a JSON value may hold, as tables, and the first place where one does not.
//!
//! The tables are the providers' published schemas in short; the words of a refusal are each surface's own. A table names
//! every member that is known, so whatever else arrives is a breach: that is what makes a simulator strict.

use serde_json::{Map, Value};

/// The JSON type and range of a value.
pub(super) enum Shape {
    /// Whatever the sender likes, such as the arguments of a tool.
    Any,
    Bool,
    Text,
    /// A text of at least one character that is not white space.
    Ink,
    Integer(i64, i64),
    Number(f64, f64),
    OneOf(&'static [&'static str]),
    /// An object whose members are the sender's own.
    Free,
    List(&'static Shape),
    Object(&'static [Member]),
    /// An object whose member of this name decides what else it holds.
    Tagged(&'static str, &'static [(&'static str, &'static [Member])]),
    /// One of two that differ in their JSON type.
    Or(&'static Shape, &'static Shape),
    /// An object whose members have the sender's names and this shape.
    Each(&'static Shape),
    /// A shape that is defined elsewhere, where tables refer to each other.
    See(&'static Shape),
}

/// One member of an object.
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    need: Need,
}

#[derive(Clone, Copy, PartialEq)]
enum Need {
    Must,
    May,
    /// May be there, and may be null.
    Null,
}

/// A member that must be there.
pub(super) const fn must(name: &'static str, shape: Shape) -> Member {
    Member { name, shape, need: Need::Must }
}

/// A member that may be there, but not as null.
pub(super) const fn may(name: &'static str, shape: Shape) -> Member {
    Member { name, shape, need: Need::May }
}

/// A member that may be there or be null.
pub(super) const fn null(name: &'static str, shape: Shape) -> Member {
    Member { name, shape, need: Need::Null }
}

/// One step from the top of a value to the place of a breach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Member(String),
    Item(usize),
    /// The kind that a tagged object said it is; no step in the value itself.
    Tag(&'static str),
}

/// The first place where a value does not fit.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Breach {
    pub(super) path: Vec<Step>,
    /// Boxed, since it may hold what came instead.
    pub(super) wrong: Box<Wrong>,
}

/// What is wrong there.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wrong {
    /// A member nobody knows; the path ends in its name.
    Unknown,
    /// A member that must be there; the path ends in its name.
    Missing,
    /// Another JSON type than this one, with what came.
    Kind(&'static str, Value),
    /// The right type, but not between these.
    Range(String, String, Value),
    /// None of these words.
    Word(&'static [&'static str], Value),
    /// A kind of object that is none of these, told by the member of this name.
    Tag(&'static str, Vec<&'static str>, String),
    /// A text without ink.
    Blank,
}

/// How a sender may spell the names of members.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Spelling {
    /// As in the tables.
    Exact,
    /// In camel or snake case, as protobuf's JSON allows; the tables are in camel case.
    Either,
}

impl Spelling {
    fn same(self, known: &str, found: &str) -> bool {
        known == found || (self == Self::Either && camel(found) == known)
    }
}

/// `camelCase` in snake case.
pub(super) fn snake(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

/// `snake_case` in camel case; what is camel case already stays.
pub(super) fn camel(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut raise = false;
    for letter in name.chars() {
        match letter {
            '_' => raise = !out.is_empty(),
            _ if raise => {
                out.extend(letter.to_uppercase());
                raise = false;
            }
            _ => out.push(letter),
        }
    }
    out
}

impl Shape {
    /// Checks a value and gives it back with the names of its known members as in the tables.
    ///
    /// # Errors
    /// The first breach, in the order of the tables' members.
    pub(super) fn check(&self, value: &Value, spelling: Spelling) -> Result<Value, Breach> {
        let mut walk = Walk { spelling, keep: true, path: Vec::new() };
        let value = self.walk(value, &mut walk);
        value.map_err(|wrong| Breach { path: walk.path, wrong: Box::new(wrong) })
    }

    /// Checks a value, and copies nothing of it.
    ///
    /// # Errors
    /// As for [`Shape::check`].
    pub(super) fn fit(&self, value: &Value, spelling: Spelling) -> Result<(), Breach> {
        let mut walk = Walk { spelling, keep: false, path: Vec::new() };
        let fits = self.walk(value, &mut walk).map(drop);
        fits.map_err(|wrong| Breach { path: walk.path, wrong: Box::new(wrong) })
    }

    fn walk(&self, value: &Value, walk: &mut Walk) -> Result<Value, Wrong> {
        match self {
            Self::See(shape) => return shape.walk(value, walk),
            Self::Or(first, second) => {
                let chosen = if first.fits(value) { first } else { second };
                return chosen.walk(value, walk);
            }
            _ => {}
        }
        if !self.fits(value) {
            return Err(Wrong::Kind(self.kind(), value.clone()));
        }
        match (self, value) {
            (Self::List(shape), Value::Array(items)) => {
                let mut out = Vec::with_capacity(if walk.keep { items.len() } else { 0 });
                for (position, item) in items.iter().enumerate() {
                    walk.path.push(Step::Item(position));
                    let item = shape.walk(item, walk)?;
                    if walk.keep {
                        out.push(item);
                    }
                    walk.path.pop();
                }
                Ok(Value::Array(out))
            }
            (Self::Each(shape), Value::Object(found)) => {
                let mut out = Map::new();
                for (name, member) in found {
                    walk.path.push(Step::Member(name.clone()));
                    let member = shape.walk(member, walk)?;
                    if walk.keep {
                        out.insert(name.clone(), member);
                    }
                    walk.path.pop();
                }
                Ok(Value::Object(out))
            }
            (Self::Object(members), Value::Object(found)) => object(members, None, found, walk),
            (Self::Tagged(tag, kinds), Value::Object(found)) => tagged(tag, kinds, found, walk),
            _ => self.range(value).map(|()| if walk.keep { value.clone() } else { Value::Null }),
        }
    }

    /// Whether the JSON type is right.
    fn fits(&self, value: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::Bool => value.is_boolean(),
            Self::Text | Self::Ink | Self::OneOf(_) => value.is_string(),
            Self::Integer(..) => value.is_i64() || value.is_u64(),
            Self::Number(..) => value.is_number(),
            Self::Free | Self::Each(_) | Self::Object(_) | Self::Tagged(..) => value.is_object(),
            Self::List(_) => value.is_array(),
            Self::Or(first, second) => first.fits(value) || second.fits(value),
            Self::See(shape) => shape.fits(value),
        }
    }

    fn range(&self, value: &Value) -> Result<(), Wrong> {
        let wide = |low: String, high: String| Err(Wrong::Range(low, high, value.clone()));
        match self {
            Self::Integer(low, high) if !value.as_i64().is_some_and(|number| (*low..=*high).contains(&number)) => {
                wide(low.to_string(), high.to_string())
            }
            Self::Number(low, high) if !value.as_f64().is_some_and(|number| (*low..=*high).contains(&number)) => {
                wide(low.to_string(), high.to_string())
            }
            Self::OneOf(words) if !value.as_str().is_some_and(|word| words.contains(&word)) => {
                Err(Wrong::Word(words, value.clone()))
            }
            Self::Ink if value.as_str().is_some_and(|text| text.trim().is_empty()) => Err(Wrong::Blank),
            _ => Ok(()),
        }
    }

    /// The JSON type in one word.
    fn kind(&self) -> &'static str {
        match self {
            Self::Any => "value",
            Self::Bool => "boolean",
            Self::Text | Self::Ink | Self::OneOf(_) => "string",
            Self::Integer(..) => "integer",
            Self::Number(..) => "number",
            Self::Free | Self::Each(_) | Self::Object(_) | Self::Tagged(..) => "object",
            Self::List(_) => "array",
            Self::Or(_, second) => second.kind(),
            Self::See(shape) => shape.kind(),
        }
    }
}

/// A walk through a value.
struct Walk {
    spelling: Spelling,
    /// Whether what is seen is copied.
    keep: bool,
    path: Vec<Step>,
}

fn object(
    members: &'static [Member],
    tag: Option<&'static str>,
    found: &Map<String, Value>,
    walk: &mut Walk,
) -> Result<Value, Wrong> {
    let mut out = Map::new();
    let spelling = walk.spelling;
    for member in members {
        let value = found.iter().find(|(name, _)| spelling.same(member.name, name)).map(|(_, value)| value);
        let Some(value) = value else {
            if member.need == Need::Must {
                walk.path.push(Step::Member(member.name.to_owned()));
                return Err(Wrong::Missing);
            }
            continue;
        };
        if value.is_null() && member.need == Need::Null {
            continue;
        }
        walk.path.push(Step::Member(member.name.to_owned()));
        let value = member.shape.walk(value, walk)?;
        if walk.keep {
            out.insert(member.name.to_owned(), value);
        }
        walk.path.pop();
    }
    let known = |name: &str| members.iter().any(|member| spelling.same(member.name, name)) || tag == Some(name);
    if let Some(unknown) = found.keys().find(|name| !known(name)) {
        walk.path.push(Step::Member(unknown.clone()));
        return Err(Wrong::Unknown);
    }
    Ok(Value::Object(out))
}

fn tagged(
    tag: &'static str,
    kinds: &'static [(&'static str, &'static [Member])],
    found: &Map<String, Value>,
    walk: &mut Walk,
) -> Result<Value, Wrong> {
    let Some(word) = found.get(tag) else {
        walk.path.push(Step::Member(tag.to_owned()));
        return Err(Wrong::Missing);
    };
    let word = word.as_str().unwrap_or_default();
    let Some((kind, members)) = kinds.iter().find(|(kind, _)| *kind == word) else {
        return Err(Wrong::Tag(tag, kinds.iter().map(|(kind, _)| *kind).collect(), word.to_owned()));
    };
    walk.path.push(Step::Tag(kind));
    let mut out = object(members, Some(tag), found, walk)?;
    walk.path.pop();
    out[tag] = Value::from(*kind);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    static PART: Shape = Shape::Tagged(
        "type",
        &[("text", &[must("text", Shape::Ink)]), ("many", &[may("parts", Shape::List(&Shape::See(&PART)))])],
    );
    static TOP: Shape = Shape::Object(&[
        must("topName", Shape::Text),
        may("count", Shape::Integer(0, 5)),
        null("word", Shape::OneOf(&["a", "b"])),
        may("content", Shape::Or(&Shape::Text, &Shape::List(&Shape::See(&PART)))),
    ]);

    fn breach(value: Value) -> (String, Wrong) {
        let breach = TOP.check(&value, Spelling::Either).expect_err("a breach");
        let steps = breach.path.iter().map(|step| match step {
            Step::Member(name) => name.clone(),
            Step::Item(position) => position.to_string(),
            Step::Tag(tag) => format!("<{tag}>"),
        });
        (steps.collect::<Vec<_>>().join("."), *breach.wrong)
    }

    #[test]
    fn the_first_breach_is_found_where_it_is() {
        let table = [
            (json!({}), "topName", Wrong::Missing),
            (json!({ "topName": null }), "topName", Wrong::Kind("string", Value::Null)),
            (json!({ "topName": "x", "other": 1 }), "other", Wrong::Unknown),
            (json!({ "topName": "x", "count": 6 }), "count", Wrong::Range("0".into(), "5".into(), json!(6))),
            (json!({ "topName": "x", "word": "c" }), "word", Wrong::Word(&["a", "b"], json!("c"))),
            (json!({ "topName": "x", "content": 4 }), "content", Wrong::Kind("array", json!(4))),
            (
                json!({ "topName": "x", "content": [{ "type": "film" }] }),
                "content.0",
                Wrong::Tag("type", vec!["text", "many"], "film".into()),
            ),
            (
                json!({ "topName": "x", "content": [{ "type": "many", "parts": [{ "type": "text", "text": " " }] }] }),
                "content.0.<many>.parts.0.<text>.text",
                Wrong::Blank,
            ),
        ];
        for (value, path, wrong) in table {
            assert_eq!(breach(value.clone()), (path.to_owned(), wrong), "{value}");
        }
    }

    #[test]
    fn what_fits_comes_back_with_the_tables_names() {
        let value = json!({ "top_name": "x", "word": null, "content": "y" });
        assert_eq!(TOP.check(&value, Spelling::Either), Ok(json!({ "topName": "x", "content": "y" })));
        assert!(TOP.check(&value, Spelling::Exact).is_err());
    }
}

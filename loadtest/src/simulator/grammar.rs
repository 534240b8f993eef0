//! The words in which faults are written: `WHEN -> WHAT`, one rule to a line.
//!
//! ```text
//! rules  = [ rule ] { ( newline | ";" ) [ rule ] }             # starts a comment that ends with its line
//! rule   = { clause } "->" what
//! clause = "always" | "nth" count | ordinal | "first" count | "every" ( count | ordinal ) | percent
//!        | "after" count "requests" | "from" time [ "to" time ] | "until" time
//!        | "stream" | "unary" | "model=" glob | "key=" glob | "dialect=" name | "header" name "=" glob | "of"
//! what   = code { "retry-after=" time | "header" name "=" text | "body=" text }
//!        | "stall" [ after ] | "cut" [ "mid" "event" | "inside" "utf8" ] [ after ]
//!        | "reset" [ "after" count "bytes" ] | "close" [ "before" "response" ]
//!        | "slow" "first" ( "byte" | "token" ) time | "drip" count "bytes" "every" time
//!        | "garbage" [ after ] | "error" "in" "stream" [ after ] [ kind ] | "stale" [ "keep-alive" ] | short
//! after  = "after" count "events"
//! ```
//!
//! A text with spaces stands in quotes, single or double. What is not understood is told with its place and what to write there.

use super::fault::{Fault, duration};
use super::rule::{FaultRule, Scope, When};
use super::surface::Surface;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Why a text is no rule: where, what, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// 1 for the first line.
    pub line: usize,
    /// 1 for the first character of the line.
    pub column: usize,
    /// What is wrong there, and the remedy.
    pub message: String,
}

impl fmt::Display for RuleError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "fault rule, line {}, column {}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for RuleError {}

impl FaultRule {
    /// Reads any number of rules, one to a line or parted by semicolons.
    ///
    /// # Errors
    /// The first place that is not understood.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, RuleError> {
        let tokens = tokens(text)?;
        let rules = tokens.split(|token| token.kind == Kind::End).filter(|rule| !rule.is_empty());
        rules.map(|rule| Reader { text, tokens: rule, at: 0 }.rule()).collect()
    }
}

impl FromStr for FaultRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let mut rules = Self::parse_all(text)?;
        match (rules.pop(), rules.is_empty()) {
            (Some(rule), true) => Ok(rule),
            (None, _) => Err(RuleError {
                line: 1,
                column: 1,
                message: "there is no rule; write one such as every 10th -> 429 retry-after=2".into(),
            }),
            (Some(_), false) => {
                Err(RuleError { line: 1, column: 1, message: "there is more than one rule; give one at a time".into() })
            }
        }
    }
}

/// Words of a clause, for messages.
const CLAUSES: &str = "always, nth 7, first 3, every 10th, 5%, after 100 requests, from 10s to 20s, until 5s, stream, unary, \
                       model=…, key=…, dialect=…, header name=…";
/// Words of a fault, for messages.
const WHATS: &str = "a status such as 429, stall, cut mid event, cut inside utf8, reset after 200 bytes, close, slow first byte 2s, \
                     slow first token 2s, drip 10 bytes every 5ms, garbage, error in stream or stale keep-alive";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Word,
    Arrow,
    /// The end of a rule.
    End,
}

#[derive(Clone, Debug)]
struct Token {
    kind: Kind,
    /// Without its quotes.
    text: String,
    /// Whether any of it stood in quotes.
    quoted: bool,
    line: usize,
    column: usize,
    /// Where it begins and ends in the text, in bytes.
    span: (usize, usize),
}

/// Parts a text into words, arrows and ends.
fn tokens(text: &str) -> Result<Vec<Token>, RuleError> {
    let mut out = Vec::new();
    let (mut line, mut column) = (1, 0);
    let mut letters = text.char_indices().peekable();
    let mut word: Option<Token> = None;
    while let Some((at, letter)) = letters.next() {
        column += 1;
        let next = letters.peek().map(|(_, next)| *next);
        let comma = letter == ',' && next.is_none_or(char::is_whitespace);
        let ends = letter.is_whitespace() || letter == ';' || comma;
        let arrow = letter == '-' && next == Some('>');
        let comment = letter == '#' && word.is_none();
        if ends || arrow || comment {
            out.extend(word.take());
        }
        let token =
            |kind, length| Token { kind, text: String::new(), quoted: false, line, column, span: (at, at + length) };
        match letter {
            '\n' => {
                out.push(token(Kind::End, 0));
                (line, column) = (line + 1, 0);
            }
            ';' => out.push(token(Kind::End, 0)),
            '#' if comment => while letters.next_if(|(_, next)| *next != '\n').is_some() {},
            '-' if arrow => {
                out.push(token(Kind::Arrow, 2));
                letters.next();
                column += 1;
            }
            _ if ends => {}
            '\'' | '"' => {
                let begun = (line, column);
                let word = word.get_or_insert(token(Kind::Word, 0));
                word.quoted = true;
                loop {
                    let Some((at, inside)) = letters.next().filter(|(_, inside)| *inside != '\n') else {
                        let message = format!("the quote {letter} is not closed; write another {letter} in this line");
                        return Err(RuleError { line: begun.0, column: begun.1, message });
                    };
                    column += 1;
                    word.span.1 = at + inside.len_utf8();
                    if inside == letter {
                        break;
                    }
                    word.text.push(inside);
                }
            }
            _ => {
                let word = word.get_or_insert(token(Kind::Word, 0));
                word.text.push(letter);
                word.span.1 = at + letter.len_utf8();
            }
        }
    }
    out.extend(word);
    Ok(out)
}

/// Reads the words of one rule.
struct Reader<'a> {
    text: &'a str,
    tokens: &'a [Token],
    at: usize,
}

impl Reader<'_> {
    fn rule(mut self) -> Result<FaultRule, RuleError> {
        let mut clauses = Clauses::default();
        while self.tokens.get(self.at).is_some_and(|token| token.kind == Kind::Word) {
            self.clause(&mut clauses)?;
        }
        if self.at == self.tokens.len() {
            return Err(self.wrong("the rule has no ->; write WHEN -> WHAT, such as every 10th -> 503"));
        }
        self.at += 1;
        let fault = self.what()?;
        if let Some(more) = self.tokens.get(self.at) {
            let found = if more.kind == Kind::Arrow { "->" } else { &more.text };
            return Err(self.wrong(format!("{found:?} is too much; end the rule here with ; or a new line")));
        }
        let (first, last) = (&self.tokens[0], &self.tokens[self.tokens.len() - 1]);
        let written = self.text.get(first.span.0..last.span.1).unwrap_or_default();
        let rule = FaultRule::new(fault, clauses.when.unwrap_or(When::Always)).after(clauses.skip.unwrap_or(0));
        Ok(rule.scoped(clauses.scope).written(written))
    }

    fn clause(&mut self, found: &mut Clauses) -> Result<(), RuleError> {
        let start = self.at;
        let word = self.word("a clause")?;
        let is_repeated = match &word[..] {
            "of" | "and" => false,
            "always" => found.when.replace(When::Always).is_some(),
            "nth" => found.when.replace(When::Nth(self.count("a number such as 7")?)).is_some(),
            "first" => found.when.replace(When::First(self.count("a number such as 3")?)).is_some(),
            "every" => found.when.replace(When::Every(self.count("a number such as 10th")?)).is_some(),
            "after" => {
                let skip = self.count("a number of requests")?;
                self.expect(&["requests", "request"])?;
                found.skip.replace(skip).is_some()
            }
            "from" => {
                let again = found.scope.from != Duration::ZERO || found.scope.until.is_some();
                found.scope.from = self.time()?;
                if self.take(&["to"]) {
                    found.scope.until = Some(self.time()?);
                }
                again
            }
            "until" => found.scope.until.replace(self.time()?).is_some(),
            "stream" => found.scope.stream.replace(true).is_some(),
            "unary" => found.scope.stream.replace(false).is_some(),
            "header" => {
                let (name, value) = self.field()?;
                found.scope.field.replace((name, value)).is_some()
            }
            other => self.filter_or_pick(other, found)?,
        };
        if found.scope.until.is_some_and(|until| until <= found.scope.from) {
            self.at -= 1;
            return Err(self.wrong("the window ends before it begins; write the earlier time first"));
        }
        if is_repeated {
            self.at = start;
            return Err(self.wrong(format!("{word:?} says again what was said before; write it once")));
        }
        Ok(())
    }

    /// `model=…` and its kin, `5%` or `7th`; true if that was said before.
    fn filter_or_pick(&mut self, word: &str, found: &mut Clauses) -> Result<bool, RuleError> {
        if let Some((name, value)) = word.split_once('=') {
            let scope = &mut found.scope;
            return match name {
                "model" => Ok(scope.model.replace(value.to_owned()).is_some()),
                "key" => Ok(scope.key.replace(value.to_owned()).is_some()),
                "dialect" => match Surface::parse(value) {
                    Ok(surface) => Ok(scope.dialect.replace(surface).is_some()),
                    Err(reason) => Err(self.wrong_before(reason)),
                },
                _ => Err(self.wrong_before(format!(
                    "{name:?} is no filter; write model=…, key=…, dialect=… or header {name}=…"
                ))),
            };
        }
        if let Some(share) = word.strip_suffix('%') {
            let share = share.parse::<f64>().ok().filter(|share| (0.0..=100.0).contains(share));
            let share = share.ok_or_else(|| self.wrong_before(format!("{word:?} is no share; write 0% to 100%")))?;
            return Ok(found.when.replace(When::Probability(share / 100.0)).is_some());
        }
        match ordinal(word) {
            Some(number) if !word.ends_with(|letter: char| letter.is_ascii_digit()) => {
                Ok(found.when.replace(When::Nth(number)).is_some())
            }
            _ => Err(self.wrong_before(format!("{word:?} is no clause; write one of {CLAUSES}"))),
        }
    }

    fn what(&mut self) -> Result<Fault, RuleError> {
        let word = self.word(&format!("what shall happen: {WHATS}"))?;
        match &word[..] {
            "stall" => Ok(Fault::Stall { after_events: self.after_events()? }),
            "cut" => {
                let inside = self.take(&["inside", "in"]);
                if inside {
                    self.expect(&["utf8", "utf-8"])?;
                } else if self.take(&["mid"]) {
                    self.expect(&["event"])?;
                }
                let after_events = self.after_events()?;
                Ok(if inside { Fault::CutInsideUtf8 { after_events } } else { Fault::CutMidEvent { after_events } })
            }
            "reset" => {
                let after_bytes = if self.take(&["after"]) {
                    let count = self.count("a number of bytes")?;
                    self.expect(&["bytes", "byte"])?;
                    count
                } else {
                    0
                };
                Ok(Fault::Reset { after_bytes })
            }
            "close" => {
                if self.take(&["before"]) {
                    self.expect(&["response"])?;
                }
                Ok(Fault::CloseBeforeResponse)
            }
            "slow" => {
                self.expect(&["first"])?;
                let byte = self.expect(&["byte", "token"])? == "byte";
                let delay = self.time()?;
                Ok(if byte { Fault::SlowFirstByte { delay } } else { Fault::SlowFirstToken { delay } })
            }
            "drip" => {
                let bytes = u32::try_from(self.count("a number of bytes")?.max(1)).unwrap_or(u32::MAX);
                self.expect(&["bytes", "byte"])?;
                self.expect(&["every"])?;
                Ok(Fault::Drip { bytes, every: self.time()? })
            }
            "garbage" if self.peek("after") => Ok(Fault::GarbageInStream { after_events: self.after_events()? }),
            "garbage" => Ok(Fault::GarbageHead),
            "error" => self.error(),
            "stale" => {
                self.take(&["keep-alive", "connection"]);
                Ok(Fault::StaleKeepAlive)
            }
            other => self.status_or_short(other),
        }
    }

    fn error(&mut self) -> Result<Fault, RuleError> {
        self.expect(&["in"])?;
        self.expect(&["stream"])?;
        let mut after_events = self.after_events()?;
        if self.tokens.get(self.at).is_none_or(|token| token.kind != Kind::Word) {
            return Ok(Fault::ErrorInStream { after_events });
        }
        let kind = self.word("the error's type")?;
        let fault = Fault::error_of_kind(after_events, &kind).map_err(|reason| self.wrong_before(reason))?;
        if self.peek("after") {
            after_events = self.after_events()?;
            return Ok(Fault::ErrorOfKind { after_events, kind });
        }
        Ok(fault)
    }

    fn status_or_short(&mut self, word: &str) -> Result<Fault, RuleError> {
        let Ok(code) = word.parse::<u16>() else {
            return Fault::parse(word)
                .map_err(|_| self.wrong_before(format!("{word:?} is nothing that can happen; write {WHATS}")));
        };
        // An answer of these has no body, and the mock's always has one.
        if !(200..600).contains(&code) || matches!(code, 204 | 205 | 304) {
            return Err(
                self.wrong_before(format!("{code} cannot be answered; write a status from 200 to 599 with a body"))
            );
        }
        let (mut retry_after, mut fields, mut body) = (None, Vec::new(), None);
        while let Some(token) = self.tokens.get(self.at).filter(|token| token.kind == Kind::Word) {
            let (quoted, text) = (token.quoted, token.text.clone());
            self.at += 1;
            match text.split_once('=') {
                Some(("retry-after", wait)) => {
                    let seconds = wait.parse::<f64>().ok().and_then(|wait| Duration::try_from_secs_f64(wait).ok());
                    let wait = seconds.map_or_else(|| duration(wait), Ok);
                    retry_after = Some(wait.map_err(|reason| self.wrong_before(format!("{reason}, nor seconds")))?);
                }
                Some(("body", text)) => body = Some(text.to_owned()),
                _ if text == "header" && !quoted => fields.push(self.field_to_send()?),
                _ if text == "body" && !quoted => body = Some(self.word("the body")?),
                _ => {
                    let message =
                        format!("{text:?} says nothing of a status; write retry-after=…, header name=… or body=…");
                    return Err(self.wrong_before(message));
                }
            }
        }
        Ok(if fields.is_empty() {
            Fault::Status { code, retry_after, body }
        } else {
            Fault::Reply { code, retry_after, fields, body }
        })
    }

    /// A field that the mock can send without breaking its own framing.
    fn field_to_send(&mut self) -> Result<(String, String), RuleError> {
        let (name, value) = self.field()?;
        if ["content-length", "transfer-encoding", "connection"].contains(&&name[..]) {
            return Err(
                self.wrong_before(format!("{name} is the mock's own; use cut, close or garbage to break framing"))
            );
        }
        Ok((name, value))
    }

    /// `name=value`, with a name in lower case that is a token (RFC 9110 §5.6.2) and a value that fits in a line.
    fn field(&mut self) -> Result<(String, String), RuleError> {
        let text = self.word("a header such as x-tenant=acme")?;
        let (name, value) = text.split_once('=').unwrap_or((&text, "*"));
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(fits) || value.chars().any(char::is_control) {
            return Err(self.wrong_before(format!(
                "{text:?} is no header; write name=value, the value in quotes if it has spaces"
            )));
        }
        Ok((name.to_ascii_lowercase(), value.to_owned()))
    }

    /// `after N events`, else none.
    fn after_events(&mut self) -> Result<u32, RuleError> {
        if !self.take(&["after"]) {
            return Ok(0);
        }
        let count = self.count("a number of events")?;
        self.expect(&["events", "event"])?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    fn count(&mut self, wanted: &str) -> Result<u64, RuleError> {
        let word = self.word(wanted)?;
        ordinal(&word).ok_or_else(|| self.wrong_before(format!("{word:?} is no count; write {wanted}")))
    }

    fn time(&mut self) -> Result<Duration, RuleError> {
        let word = self.word("a time such as 500ms or 10s")?;
        duration(&word).map_err(|reason| self.wrong_before(reason))
    }

    /// The next word, whatever it is.
    fn word(&mut self, wanted: &str) -> Result<String, RuleError> {
        match self.tokens.get(self.at) {
            Some(token) if token.kind == Kind::Word => {
                self.at += 1;
                Ok(token.text.clone())
            }
            _ => Err(self.wrong(format!("something is missing; write {wanted}"))),
        }
    }

    /// The next word, which must be one of these.
    fn expect<'w>(&mut self, words: &[&'w str]) -> Result<&'w str, RuleError> {
        let found = self.tokens.get(self.at).map(|token| &token.text[..]);
        match words.iter().find(|word| Some(**word) == found) {
            Some(word) => {
                self.at += 1;
                Ok(word)
            }
            None => Err(self.wrong(format!("here must stand {}", words.join(" or ")))),
        }
    }

    /// Takes the next word if it is one of these.
    fn take(&mut self, words: &[&str]) -> bool {
        let is_there = words.iter().any(|word| self.peek(word));
        self.at += usize::from(is_there);
        is_there
    }

    fn peek(&self, word: &str) -> bool {
        self.tokens.get(self.at).is_some_and(|token| token.kind == Kind::Word && token.text == word)
    }

    /// An error at the next word, or behind the last one.
    fn wrong(&self, message: impl Into<String>) -> RuleError {
        let (line, column) = match (self.tokens.get(self.at), self.tokens.last()) {
            (Some(next), _) => (next.line, next.column),
            (None, Some(last)) => {
                let length = self.text.get(last.span.0..last.span.1).map_or(0, |text| text.chars().count());
                (last.line, last.column + length)
            }
            (None, None) => (1, 1),
        };
        RuleError { line, column, message: message.into() }
    }

    /// An error at the word just read.
    fn wrong_before(&self, message: impl Into<String>) -> RuleError {
        Reader { at: self.at.saturating_sub(1), ..*self }.wrong(message)
    }
}

/// What stands before the arrow.
#[derive(Default)]
struct Clauses {
    when: Option<When>,
    skip: Option<u64>,
    scope: Scope,
}

/// `7`, `1st`, `22nd`, `10th`: one or more.
fn ordinal(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let ending = &text[digits.len()..];
    let known = ["", "st", "nd", "rd", "th"].contains(&ending);
    digits.parse().ok().filter(|number| known && (*number > 0 || ending.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> FaultRule {
        text.parse().unwrap_or_else(|reason| panic!("{text}: {reason}"))
    }

    #[test]
    fn every_what_is_read() {
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        let status =
            |code, retry_after, body: Option<&str>| Fault::Status { code, retry_after, body: body.map(Into::into) };
        let reply = |fields: &[(&str, &str)]| Fault::Reply {
            code: 429,
            retry_after: Some(s(2)),
            fields: fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            body: None,
        };
        for (text, fault) in [
            ("503", status(503, None, None)),
            ("429 retry-after=2", status(429, Some(s(2)), None)),
            ("429 retry-after=1500ms", status(429, Some(ms(1500)), None)),
            ("429 retry-after=2 header X-Foo=bar", reply(&[("x-foo", "bar")])),
            ("429 header x-foo='a b' retry-after=2 header b=", reply(&[("x-foo", "a b"), ("b", "")])),
            ("500 body='{\"error\": 1}'", status(500, None, Some("{\"error\": 1}"))),
            ("502 body \"<html>\"", status(502, None, Some("<html>"))),
            ("200 body=''", status(200, None, Some(""))),
            ("429/2", status(429, Some(s(2)), None)),
            ("429-quota", Fault::Quota),
            ("stall", Fault::Stall { after_events: 0 }),
            ("stall after 3 events", Fault::Stall { after_events: 3 }),
            ("stall@3", Fault::Stall { after_events: 3 }),
            ("cut", Fault::CutMidEvent { after_events: 0 }),
            ("cut mid event after 1 event", Fault::CutMidEvent { after_events: 1 }),
            ("cut inside utf8", Fault::CutInsideUtf8 { after_events: 0 }),
            ("cut inside utf-8 after 2 events", Fault::CutInsideUtf8 { after_events: 2 }),
            ("reset", Fault::Reset { after_bytes: 0 }),
            ("reset after 200 bytes", Fault::Reset { after_bytes: 200 }),
            ("close", Fault::CloseBeforeResponse),
            ("close before response", Fault::CloseBeforeResponse),
            ("slow first byte 50ms", Fault::SlowFirstByte { delay: ms(50) }),
            ("slow first token 2s", Fault::SlowFirstToken { delay: s(2) }),
            ("drip 10 bytes every 5ms", Fault::Drip { bytes: 10, every: ms(5) }),
            ("garbage", Fault::GarbageHead),
            ("garbage after 2 events", Fault::GarbageInStream { after_events: 2 }),
            ("error in stream", Fault::ErrorInStream { after_events: 0 }),
            (
                "error in stream after 2 events 'overloaded_error'",
                Fault::ErrorOfKind { after_events: 2, kind: "overloaded_error".into() },
            ),
            ("error in stream api_error", Fault::ErrorOfKind { after_events: 0, kind: "api_error".into() }),
            ("stale keep-alive", Fault::StaleKeepAlive),
            ("stale", Fault::StaleKeepAlive),
        ] {
            let rule = read(&format!("-> {text}"));
            assert_eq!((rule.fault(), rule.when()), (&fault, When::Always), "{text}");
        }
    }

    #[test]
    fn every_when_is_read() {
        let scope = |change: fn(&mut Scope)| {
            let mut scope = Scope::default();
            change(&mut scope);
            scope
        };
        let any = Scope::default;
        for (text, when, skip, wanted) in [
            ("", When::Always, 0, any()),
            ("always", When::Always, 0, any()),
            ("nth 7", When::Nth(7), 0, any()),
            ("7th", When::Nth(7), 0, any()),
            ("first 3", When::First(3), 0, any()),
            ("every 10th", When::Every(10), 0, any()),
            ("every 2", When::Every(2), 0, any()),
            ("5%", When::Probability(0.05), 0, any()),
            ("after 100 requests", When::Always, 100, any()),
            ("after 100 requests, first 2", When::First(2), 100, any()),
            ("stream", When::Always, 0, scope(|it| it.stream = Some(true))),
            ("every 2nd of unary", When::Every(2), 0, scope(|it| it.stream = Some(false))),
            ("model=gpt-4*", When::Always, 0, scope(|it| it.model = Some("gpt-4*".into()))),
            ("key='sk old'", When::Always, 0, scope(|it| it.key = Some("sk old".into()))),
            ("dialect=anthropic", When::Always, 0, scope(|it| it.dialect = Some(Surface::Anthropic))),
            ("header X-Tenant=a*", When::Always, 0, scope(|it| it.field = Some(("x-tenant".into(), "a*".into())))),
            ("header x-debug", When::Always, 0, scope(|it| it.field = Some(("x-debug".into(), "*".into())))),
            (
                "from 10s to 20s",
                When::Always,
                0,
                scope(|it| (it.from, it.until) = (Duration::from_secs(10), Some(Duration::from_secs(20)))),
            ),
            ("from 10s", When::Always, 0, scope(|it| it.from = Duration::from_secs(10))),
            ("until 5s", When::Always, 0, scope(|it| it.until = Some(Duration::from_secs(5)))),
        ] {
            let rule = read(&format!("{text}->503"));
            assert_eq!(rule.when(), when, "{text}");
            let plain = FaultRule::new(Fault::status(503), when).after(skip).scoped(wanted);
            let plain = plain.written(&rule.text());
            assert_eq!(format!("{rule:?}"), format!("{plain:?}"), "{text}");
        }
    }

    #[test]
    fn many_rules_stand_in_lines() {
        let text = "# an outage\nfrom 10s to 20s -> 503 ; 5% of stream -> stall after 3 events # later\n\n -> 429 body='a;b#c'\n";
        let rules = FaultRule::parse_all(text).expect("three rules");
        let texts: Vec<_> = rules.iter().map(FaultRule::text).collect();
        assert_eq!(texts, ["from 10s to 20s -> 503", "5% of stream -> stall after 3 events", "-> 429 body='a;b#c'"]);
        assert!(FaultRule::parse_all(" \n# nothing\n").expect("no rules").is_empty());
    }

    #[test]
    fn what_is_not_understood_is_told_with_its_place_and_a_remedy() {
        for (text, line, column, part) in [
            ("", 1, 1, "there is no rule"),
            ("503", 1, 1, "is no clause"),
            ("always 503", 1, 8, "is no clause"),
            ("always", 1, 7, "has no ->"),
            ("always ->", 1, 10, "something is missing"),
            ("every x -> 503", 1, 7, "10th"),
            ("every 3xx -> 503", 1, 7, "no count"),
            ("nth -> 503", 1, 5, "something is missing"),
            ("200% -> 503", 1, 1, "0% to 100%"),
            ("after 5 -> 503", 1, 9, "requests or request"),
            ("from x -> 503", 1, 6, "such as 5ms"),
            ("from 5s to 2s -> 503", 1, 12, "earlier time first"),
            ("until 0s -> 503", 1, 7, "earlier time first"),
            ("stream unary -> 503", 1, 8, "once"),
            ("first 2 5% -> 503", 1, 9, "once"),
            ("tenant=a -> 503", 1, 1, "header tenant=…"),
            ("dialect=latin -> 503", 1, 1, "there are"),
            ("header =x -> 503", 1, 8, "name=value"),
            ("-> explode", 1, 4, "nothing that can happen"),
            ("-> 99", 1, 4, "200 to 599"),
            ("-> 204", 1, 4, "200 to 599"),
            ("-> 429 later", 1, 8, "retry-after=…"),
            ("-> 429 retry-after=x", 1, 8, "nor seconds"),
            ("-> 429 header content-length=3", 1, 15, "mock's own"),
            ("-> 429 header a='x", 1, 17, "not closed"),
            ("-> stall after 3", 1, 17, "events or event"),
            ("-> stall after x events", 1, 16, "no count"),
            ("-> cut inside event", 1, 15, "utf8"),
            ("-> reset after 2 events", 1, 18, "bytes or byte"),
            ("-> slow 2s", 1, 9, "first"),
            ("-> slow first word 2s", 1, 15, "byte or token"),
            ("-> drip 2 bytes", 1, 16, "every"),
            ("-> error in stream 'a b'", 1, 20, "type of an error"),
            ("-> garbage 3", 1, 12, "too much"),
            ("-> 503 -> 503", 1, 8, "too much"),
            ("-> 503\n\nevery -> 1", 3, 7, "something is missing"),
        ] {
            let reason = FaultRule::from_str(text).expect_err(text);
            assert!(reason.message.contains(part), "{text}: {reason}");
            assert_eq!((reason.line, reason.column), (line, column), "{text}: {reason}");
        }
        assert!(FaultRule::from_str("-> 503; -> 503").expect_err("two").message.contains("one at a time"));
    }
}

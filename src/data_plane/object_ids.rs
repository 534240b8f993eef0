//! Which provider a stored object belongs to, told by its id: `file-abc~mistral` is `file-abc` at Mistral.
//!
//! Stateless, so that it holds over restarts and machines. OpenAI's ids, the usual ones, carry no mark; every other provider's are marked in
//! the answers that name them, and unmarked in the paths and bodies that come back.

use crate::json::scan::{self, Names};
use crate::json::splice::{Edits, escape_into};
use crate::json::{Kind, Span, text};

/// Between an object's own id and the provider's name.
const MARK: char = '~';
/// The provider whose ids carry no mark.
pub const UNMARKED: &str = "openai";
/// Members that hold ids of stored objects.
const ID_NAMES: [&str; 6] = ["id", "input_file_id", "output_file_id", "error_file_id", "first_id", "last_id"];
/// Names in a query that hold such an id: OpenAI's, then Anthropic's.
const CURSORS: [&str; 4] = ["after", "before", "after_id", "before_id"];
static IDS: Names =
    Names::new(&["id", "input_file_id", "output_file_id", "error_file_id", "first_id", "last_id", "data"]);
const DATA: usize = ID_NAMES.len();

/// Takes a mark out of the id in a target such as `/files/file-abc~mistral/content`; the provider it named.
pub fn unmark_path(target: &mut String, is_known: impl Fn(&str) -> bool) -> Option<String> {
    let path_end = target.find('?').unwrap_or(target.len());
    let (path, _) = target.split_at(path_end);
    let start = path.match_indices('/').nth(1)?.0 + 1;
    let end = path.get(start..)?.find('/').map_or(path_end, |length| start + length);
    unmark(target, start, end, is_known)
}

/// Takes the marks out of the cursors in a target's query, such as `?after=file-abc~mistral`; the provider they named.
pub fn unmark_query(target: &mut String, is_known: impl Fn(&str) -> bool) -> Option<String> {
    let mut named = None;
    let mut start = target.find('?')? + 1;
    while start <= target.len() {
        let pair = target.get(start..)?.split('&').next()?;
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let end = start + pair.len();
        if CURSORS.contains(&name) {
            let value_start = end - value.len();
            let (before, found) = (target.len(), unmark(target, value_start, end, &is_known));
            named = named.or(found);
            start = end + 1 - (before - target.len());
        } else {
            start = end + 1;
        }
    }
    named
}

/// Takes the mark out of the id at a place in a target, if it names a provider.
fn unmark(target: &mut String, start: usize, end: usize, is_known: impl Fn(&str) -> bool) -> Option<String> {
    let marked = target.get(start..end)?;
    // Some clients write the mark as they would write any odd character.
    let (id, name) =
        marked.rsplit_once(MARK).or_else(|| marked.rsplit_once("%7E")).or_else(|| marked.rsplit_once("%7e"))?;
    if !is_known(name) {
        return None;
    }
    let (id_end, name) = (start + id.len(), name.to_owned());
    target.replace_range(id_end..end, "");
    Some(name)
}

/// Whether a target names what is inside a file or a batch: bytes of the client's own, which hold no ids of ours.
pub fn is_content(target: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default();
    path.ends_with("/content") || path.ends_with("/results")
}

/// The provider that an id in a JSON body is marked with.
pub fn provider_in_body(body: &[u8], is_known: impl Fn(&str) -> bool) -> Option<String> {
    marked(body).into_iter().map(|(_, _, name)| name).find(|name| is_known(name))
}

/// A request body without the marks.
pub fn unmark_body(body: &[u8], edits: &mut Edits) {
    for (span, id, _) in marked(body) {
        edits.replace(span, &quoted(&id));
    }
}

/// An answer's body with the provider's mark on each id in it, and in the objects of its `data`. `None` leaves it as it is.
pub fn mark_body(body: &[u8], provider: &str) -> Option<Vec<u8>> {
    if provider == UNMARKED {
        return None;
    }
    let mut edits = Edits::new();
    let mut found = [None; DATA + 1];
    scan::members(body, &IDS, &mut found).ok()?;
    mark(body, &found[..DATA], provider, &mut edits);
    let data = found[DATA].filter(|member| member.kind == Kind::Array);
    for element in data.into_iter().flat_map(|data| scan::elements(body, data.value)) {
        let mut inner = [None; DATA + 1];
        if scan::members_at(body, element.ok()?.value, &IDS, &mut inner).is_ok() {
            mark(body, &inner[..DATA], provider, &mut edits);
        }
    }
    let mut out = Vec::with_capacity(body.len() + 256);
    edits.write(body, &mut out);
    Some(out)
}

fn mark(body: &[u8], found: &[Option<crate::json::Member>], provider: &str, edits: &mut Edits) {
    for member in found.iter().flatten().filter(|member| member.kind == Kind::String) {
        let mut id = Vec::new();
        if text::unescape(body, member.value, &mut id)
            && let Ok(id) = String::from_utf8(id)
        {
            edits.replace(member.value, &quoted(&format!("{id}{MARK}{provider}")));
        }
    }
}

/// Where marked ids lie, each with its own id and its provider.
fn marked(body: &[u8]) -> Vec<(Span, String, String)> {
    let mut found = [None; DATA + 1];
    if scan::members(body, &IDS, &mut found).is_err() {
        return Vec::new();
    }
    let members = found[..DATA].iter().flatten().filter(|member| member.kind == Kind::String);
    let read = |member: &crate::json::Member| {
        let whole = text::text(body, member.value)?;
        let (id, name) = whole.rsplit_once(MARK)?;
        Some((member.value, id.to_owned(), name.to_owned()))
    };
    members.filter_map(read).collect()
}

fn quoted(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    escape_into(text, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_known(name: &str) -> bool {
        name == "mistral"
    }

    #[test]
    fn ids_are_marked_and_unmarked() {
        let body = br#"{"id":"batch_1","input_file_id":"file-1","output_file_id":null,"data":[{"id":"file-2"}]}"#;
        let marked = mark_body(body, "mistral").expect("marked");
        assert_eq!(
            marked,
            br#"{"id":"batch_1~mistral","input_file_id":"file-1~mistral","output_file_id":null,"data":[{"id":"file-2~mistral"}]}"#
        );
        assert_eq!(mark_body(body, UNMARKED), None);
        assert_eq!(provider_in_body(&marked, is_known).as_deref(), Some("mistral"));
        let mut edits = Edits::new();
        unmark_body(&marked, &mut edits);
        let mut back = Vec::new();
        edits.write(&marked, &mut back);
        assert!(back.starts_with(br#"{"id":"batch_1","input_file_id":"file-1","#));
    }

    #[test]
    fn paths_lose_their_mark() {
        let unmarked = |path: &str| {
            let mut target = path.to_owned();
            let name = unmark_path(&mut target, is_known);
            (target, name)
        };
        let mistral = Some("mistral".to_owned());
        assert_eq!(unmarked("/files/f~mistral"), ("/files/f".to_owned(), mistral.clone()));
        assert_eq!(unmarked("/files/f~mistral/content?a=~b"), ("/files/f/content?a=~b".to_owned(), mistral));
        assert_eq!(unmarked("/files/f%7Emistral").0, "/files/f");
        for path in ["/files", "/files/f", "/files/f~other", "/files?after=f~mistral", "/batches/b/cancel"] {
            assert_eq!(unmarked(path), (path.to_owned(), None), "{path}");
        }
    }
    #[test]
    fn cursors_lose_their_mark() {
        let unmarked = |target: &str| {
            let mut target = target.to_owned();
            let name = unmark_query(&mut target, is_known);
            (target, name)
        };
        let mistral = Some("mistral".to_owned());
        assert_eq!(unmarked("/files?after=f~mistral"), ("/files?after=f".to_owned(), mistral.clone()));
        let both = "/files?limit=2&after_id=f~mistral&before=g%7emistral&x";
        assert_eq!(unmarked(both), ("/files?limit=2&after_id=f&before=g&x".to_owned(), mistral));
        for target in
            ["/files", "/files?", "/files?after", "/files?after=&&", "/files?other=f~mistral", "/f?after=f~who"]
        {
            assert_eq!(unmarked(target), (target.to_owned(), None), "{target}");
        }
        assert!(is_content("/files/f/content?x=1") && !is_content("/files/f"));
    }
}

//! Rule T2: every call of the store takes the tenant as a typed argument, but in its admin part; and no SQL text is built from input.

use crate::source::{Finding, Source, behind_closing, name_at, words};

/// What is about a whole file, and so about nobody in it.
const WHOLE_FILE: [&str; 25] = [
    "open",
    "open_reading",
    "admin",
    "verify",
    "all_or_nothing",
    "flush_if_due",
    "unlock",
    "unlock_reading",
    "has_hierarchy",
    "back_up",
    "bind_reading",
    "settle_root",
    "release",
    "take_back",
    // The whole estate, between machines that share it.
    "unlock_again",
    "open_copy",
    "share",
    "become_copy",
    "stand_alone",
    "copy_of",
    "shared_generation",
    "adopt",
    "estate",
    "fill",
    "config_history_of",
];

/// Makes the statements for the shared tables from their list, and knows nothing else.
const MAKES_STATEMENTS: &str = "src/store/shared/text.rs";

/// Names in braces that may stand in the text of a statement besides constants: each is a `&'static str` of its file.
const CONSTANT_PARTS: [&str; 2] = ["tail", "which"];

/// Public functions of the store that anybody may call without saying for which tenant.
pub fn store_calls(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.path.starts_with("src/store/")) {
        for start in words(&source.shipped, "impl").filter(|place| source.shipped[*place..].starts_with("impl Store {"))
        {
            let end = behind_closing(&source.shipped, start + "impl Store ".len());
            let block = &source.shipped[start..end];
            for (offset, _) in block.match_indices("pub fn ") {
                let name = name_at(block, offset + "pub fn ".len());
                let signature = block[offset..].split('{').next().unwrap_or_default();
                if !signature.contains("tenant: &TenantId") && !WHOLE_FILE.contains(&name) {
                    let what = format!("`Store::{name}` takes no `tenant: &TenantId`");
                    let why = "a call that does not say whose it is may reach another tenant's rows (rule T2)";
                    let remedy =
                        "take the tenant and put it into the statement's WHERE, or move the call to `impl Admin`";
                    findings.push(source.finding(start + offset, what, why, remedy));
                }
            }
        }
    }
    findings
}

/// Statements whose text is put together from something that is not a constant.
pub fn statements(sources: &[Source]) -> Vec<Finding> {
    const VERBS: [&str; 5] = ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", "PRAGMA "];
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| {
        source.path.starts_with("src/store/") && source.path != MAKES_STATEMENTS && !source.shipped.trim().is_empty()
    }) {
        for place in words(&source.shipped, "format").filter(|place| source.shipped[*place..].starts_with("format!(")) {
            let literal = source.text[place..].split('"').nth(1).unwrap_or_default();
            let parts = literal.split('{').skip(1).filter_map(|part| part.split('}').next());
            let is_constant = |part: &str| {
                CONSTANT_PARTS.contains(&part)
                    || (!part.is_empty() && part.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'))
            };
            let built = parts.into_iter().any(|part| !is_constant(part));
            if built && VERBS.iter().any(|verb| literal.contains(verb)) {
                let why = "input in the text of a statement is a statement of whoever sent it (rule T2)";
                let remedy = "bind it as a parameter; only constants may stand in braces";
                findings.push(source.finding(place, "SQL text that is put together".to_owned(), why, remedy));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(text: &str) -> [Source; 1] {
        [Source::new("src/store/things.rs", text)]
    }

    #[test]
    fn a_call_without_a_tenant_is_found() {
        let fine =
            "impl Store {\n pub fn a(&self, tenant: &TenantId) {}\n pub fn verify(&self) {}\n fn own(&self) {}\n}\n";
        assert!(store_calls(&store(fine)).is_empty());
        assert!(store_calls(&store("impl Admin<'_> {\n pub fn all(&self) {}\n}\n")).is_empty());
        assert_eq!(store_calls(&store("impl Store {\n pub fn all(\n &self,\n) -> u64 { 1 }\n}\n")).len(), 1);
    }

    #[test]
    fn a_statement_from_input_is_found() {
        let fine = "fn f() { let sql = format!(\"SELECT {COLUMNS} FROM t WHERE id = ?1\"); let what = format!(\"row {row} is gone\"); }";
        assert!(statements(&store(fine)).is_empty());
        assert_eq!(statements(&store("fn f() { format!(\"SELECT * FROM t WHERE id = '{id}'\"); }")).len(), 1);
        assert_eq!(statements(&store("fn f() { format!(\"DELETE FROM {}\", table); }")).len(), 1);
    }
}

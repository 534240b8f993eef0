//! `[store]`: a file of this machine, or a database that machines share.
//!
//! Of a URL's parameters three are taken up here: `sslmode` and `sslrootcert`, named as PostgreSQL's own programs name them, and `listen`.
//! The others are the client's, who refuses what it does not know.

use super::leaf::text;
use super::operation::{self, KeySource};
use super::problem::Findings;
use super::raw;
use super::{Complaint, Typed};
use crate::domain::secret::Secret;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// `[store]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// SQLite in this file; `None` means `igris.db` in the data directory.
    Sqlite(Option<PathBuf>),
    /// A database that machines share; `igris.db` in the data directory is a copy of it.
    Database(Database),
}

/// A database that machines share.
#[derive(Clone, Debug)]
pub struct Database {
    /// The URL without the parameters that are taken up here. It may hold a password.
    pub url: Arc<Secret>,
    /// Where the password is, if not in the URL.
    pub password: Option<KeySource>,
    /// Whether connections are encrypted, and then with a certificate that is verified.
    pub is_encrypted: bool,
    /// A file with the one certificate authority that counts; `None`: those of the system.
    pub authority: Option<PathBuf>,
    /// Whether to listen for changes, where the engine can. Otherwise it is asked: through a pooler that gives a connection to somebody else
    /// at the end of each transaction nothing is heard.
    pub listens: bool,
}

impl PartialEq for Database {
    fn eq(&self, other: &Self) -> bool {
        self.url.expose() == other.url.expose()
            && (&self.password, self.is_encrypted, &self.authority, self.listens)
                == (&other.password, other.is_encrypted, &other.authority, other.listens)
    }
}

impl Eq for Database {}

/// `[store]` as meant.
pub(super) fn store(raw: Option<raw::Store>, findings: &mut Findings) -> Store {
    let Some(raw) = raw else { return Store::Sqlite(None) };
    let password = raw.password.and_then(|reference| operation::key_source("password", reference, false, findings));
    let at = raw.at;
    match findings.value("url", raw.url, place) {
        Some(Store::Database(database)) => {
            Store::Database(Database { password: password.map(|source| source.value), ..database })
        }
        place => {
            if password.is_some() {
                findings.error(
                    at,
                    "`password` stands beside a store without one",
                    "remove it, or write a URL of PostgreSQL",
                );
            }
            place.unwrap_or(Store::Sqlite(None))
        }
    }
}

/// A URL of another kind is not repeated: it may hold a password.
fn place(typed: &Typed) -> Result<Store, Complaint> {
    const REMEDY: &str = "write it as in \"sqlite:igris-data/igris.db\", or \"postgres://igris@db.example/igris\"";
    let url = text(typed)?;
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return database(&url).map(Store::Database);
    }
    let path = url.strip_prefix("sqlite:").ok_or_else(|| Complaint::new("names no store that is known", REMEDY))?;
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() || path.contains(['?', '#']) || path.starts_with(':') {
        return Err(Complaint::new("does not name a plain file", REMEDY));
    }
    Ok(Store::Sqlite(Some(PathBuf::from(path))))
}

fn database(url: &str) -> Result<Database, Complaint> {
    let (head, query) = url.split_once('?').unwrap_or((url, ""));
    let (scheme, rest) = head.split_once("://").unwrap_or(("", ""));
    let (authority, name) = rest.split_once('/').unwrap_or((rest, ""));
    if name.is_empty() {
        return Err(Complaint::new(
            "names no database",
            "write its name behind the host, as in \"postgres://igris@db.example/igris\"",
        ));
    }
    let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    let (mut said, mut authority, mut listens, mut others) = (None, None, true, Vec::new());
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=') {
            Some(("sslmode", "disable")) => said = Some(false),
            // Stricter than PostgreSQL's own: encrypted is verified here, always.
            Some(("sslmode", "require" | "verify-ca" | "verify-full")) => said = Some(true),
            Some(("sslmode", _)) => {
                let remedy = "write `verify-full`, or `disable` where the network is yours alone";
                return Err(Complaint::new("has an `sslmode` that protects from nobody", remedy));
            }
            Some(("listen", "yes")) => listens = true,
            Some(("listen", "no")) => listens = false,
            Some(("listen", _)) => {
                return Err(Complaint::new("has a `listen` that is neither", "write `listen=no`, or leave it out"));
            }
            Some(("sslrootcert", path)) if !path.is_empty() => authority = Some(PathBuf::from(path)),
            _ => others.push(parameter),
        }
    }
    let is_encrypted = said.unwrap_or_else(|| authority.is_some() || !hosts.split(',').all(is_near));
    if authority.is_some() && !is_encrypted {
        let remedy = "write `sslmode=verify-full`, or leave out `sslrootcert`";
        return Err(Complaint::new("has an `sslrootcert` for a plain connection", remedy));
    }
    let mut plain = format!("{scheme}://{rest}");
    if !others.is_empty() {
        plain.push('?');
        plain.push_str(&others.join("&"));
    }
    let url = Arc::new(Secret::copy_of(plain.as_bytes()));
    Ok(Database { url, password: None, is_encrypted, authority, listens })
}

/// A configuration's text for people: passwords in URLs of databases are left out, wherever they stand.
pub fn without_passwords(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((at, scheme)) =
        ["postgres://", "postgresql://"].iter().filter_map(|scheme| Some((rest.find(scheme)?, *scheme))).min()
    {
        let begin = at + scheme.len();
        out.push_str(&rest[..begin]);
        rest = &rest[begin..];
        let end = rest.find(|one: char| one.is_whitespace() || one == '"' || one == '\'').unwrap_or(rest.len());
        let (url, behind) = rest.split_at(end);
        // A password may hold an `@` that nobody escaped: the last one is the right one.
        let user_end = url.rfind('@').unwrap_or(0);
        match url[..user_end].find(':') {
            Some(colon) => out.push_str(&format!("{}:…", &url[..colon])),
            None => out.push_str(&url[..user_end]),
        }
        out.push_str(&without_parameter(&url[user_end..]));
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// `password` may stand among the parameters too.
fn without_parameter(tail: &str) -> String {
    let Some((head, query)) = tail.split_once('?') else { return tail.to_owned() };
    let shown = query.split('&').map(|one| if one.starts_with("password=") { "password=…" } else { one });
    format!("{head}?{}", shown.collect::<Vec<_>>().join("&"))
}

/// Whether a host is on this machine or in a network of one's own: a loopback or private address, `localhost`, or a Unix socket. Certificates
/// for such addresses are rare, and who has one says so.
fn is_near(host: &str) -> bool {
    let bare = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inner, _)) => inner,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    bare.is_empty()
        || bare == "localhost"
        || bare.starts_with("%2F")
        || bare.starts_with("%2f")
        || bare.parse::<IpAddr>().is_ok_and(|address| match address {
            IpAddr::V4(address) => address.is_loopback() || address.is_private(),
            IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<(String, bool, Option<PathBuf>), Complaint> {
        let database = database(url)?;
        let url = String::from_utf8(database.url.expose().to_vec()).expect("text");
        Ok((url, database.is_encrypted, database.authority))
    }

    #[test]
    fn encrypted_unless_it_is_this_machine_or_said() {
        for (url, plain, encrypted) in [
            ("postgres://a:b@db.example/x", "postgres://a:b@db.example/x", true),
            ("postgresql://db.example:5433/x?sslmode=disable", "postgresql://db.example:5433/x", false),
            ("postgres://a@127.0.0.1:5432/x", "postgres://a@127.0.0.1:5432/x", false),
            (
                "postgres://a@[::1]:5432/x?sslmode=verify-full&target_session_attrs=read-write",
                "postgres://a@[::1]:5432/x?target_session_attrs=read-write",
                true,
            ),
            ("postgres://a@%2Frun%2Fpostgresql/x", "postgres://a@%2Frun%2Fpostgresql/x", false),
            ("postgres://a@localhost,db.example/x", "postgres://a@localhost,db.example/x", true),
            ("postgres://a@10.1.2.3:5432,[fd00::1]/x", "postgres://a@10.1.2.3:5432,[fd00::1]/x", false),
            ("postgres://a@8.8.8.8/x", "postgres://a@8.8.8.8/x", true),
        ] {
            assert_eq!(read(url), Ok((plain.to_owned(), encrypted, None)), "{url}");
        }
        let own = read("postgres://a@db.example/x?sslrootcert=/etc/ca.pem");
        assert_eq!(own, Ok(("postgres://a@db.example/x".to_owned(), true, Some(PathBuf::from("/etc/ca.pem")))));
    }

    #[test]
    fn who_stands_behind_a_pooler_asks() {
        let listens = |url: &str| database(url).map(|database| database.listens);
        assert_eq!(listens("postgres://a@db.example/x"), Ok(true));
        assert_eq!(listens("postgres://a@db.example/x?listen=no&sslmode=disable"), Ok(false));
        assert_eq!(read("postgres://a@h/x?listen=no").expect("read").0, "postgres://a@h/x", "it is not the client's");
        let refused = listens("postgres://a@db.example/x?listen=maybe").expect_err("neither");
        assert_eq!(refused.what, "has a `listen` that is neither");
    }

    #[test]
    fn no_password_is_shown() {
        for (text, shown) in [
            ("url = \"postgres://a:secret@h/x\" # b", "url = \"postgres://a:…@h/x\" # b"),
            (
                "'postgresql://a:se:c@ret@h/x?password=secret&sslmode=disable'",
                "'postgresql://a:…@h/x?password=…&sslmode=disable'",
            ),
            ("postgres://a@h/x postgres://:secret@h/x", "postgres://a@h/x postgres://:…@h/x"),
            ("url = \"sqlite:a:b@c\"", "url = \"sqlite:a:b@c\""),
            ("postgres://", "postgres://"),
        ] {
            assert_eq!(without_passwords(text), shown);
        }
    }

    #[test]
    fn what_protects_from_nobody_is_refused() {
        for (url, what) in [
            ("postgres://a@db.example", "names no database"),
            ("postgres://a@db.example/", "names no database"),
            ("postgres://a@db.example/x?sslmode=prefer", "has an `sslmode` that protects from nobody"),
            ("postgres://a@h/x?sslmode=disable&sslrootcert=ca.pem", "has an `sslrootcert` for a plain connection"),
        ] {
            assert_eq!(read(url).expect_err(url).what, what, "{url}");
        }
    }
}

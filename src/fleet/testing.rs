//! A database of its own for a test of the store: the cluster is named by `IGRIS_TEST_STORE_URL`, whose role may make databases.

use super::Fleet;
use super::connect::{Connector, Encryption, Listening, Place};
use crate::domain::secret::Secret;
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio_postgres::SimpleQueryMessage;

pub(super) fn place(url: &str) -> Place {
    let url = Arc::new(Secret::copy_of(url.as_bytes()));
    Place { url, password: None, encryption: Encryption::Off, authority: None, listens: true }
}

/// A connection for statements of a test.
pub(crate) struct Session {
    runtime: Runtime,
    listening: Listening,
}

impl Session {
    pub(crate) fn open(url: &str) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let connector = Connector::new(&place(url)).expect("a URL");
        let listening = runtime.block_on(connector.listen()).expect("the cluster answers");
        Self { runtime, listening }
    }

    /// Runs statements; the rows of all of them, columns parted by a bar.
    #[track_caller]
    pub(crate) fn sql(&self, statements: &str) -> Vec<String> {
        let answered = self.runtime.block_on(self.listening.client.simple_query(statements));
        let rows = answered.unwrap_or_else(|error| panic!("{error:?}: {statements:.1000}")).into_iter();
        rows.filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                let cells: Vec<&str> = (0..row.len()).map(|place| row.get(place).unwrap_or("")).collect();
                Some(cells.join("|"))
            }
            _ => None,
        })
        .collect()
    }
}

/// Runs statements in a database.
pub(crate) fn execute(url: &str, sql: &str) {
    Session::open(url).sql(sql);
}

/// Makes an empty database in the cluster and answers its URL.
pub(crate) fn database(cluster: &str, name: &str) -> String {
    database_with(cluster, name, "")
}

/// The same with more words of `CREATE DATABASE`.
pub(crate) fn database_with(cluster: &str, name: &str, more: &str) -> String {
    Session::open(cluster).sql(&format!("CREATE DATABASE {name} {more}"));
    let (head, _) = cluster.rsplit_once('/').expect("a database is named");
    format!("{head}/{name}")
}

/// Joins a database.
pub(crate) fn join(url: &str) -> (Fleet, [u8; 16]) {
    let (sender, news) = mpsc::unbounded_channel();
    // Who holds the other end decides when it closes; nobody reads here.
    std::mem::forget(news);
    let fleet = Fleet::start(&place(url), sender, fastrand::u128(..).to_be_bytes()).expect("a thread");
    let id = fleet.met().expect("it answers");
    (fleet, id)
}

/// The one number that a statement answers.
pub(crate) fn number(url: &str, sql: &str) -> i64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let connector = Connector::new(&place(url)).expect("a URL");
        let listening = connector.listen().await.expect("the database answers");
        listening.client.query_one(sql, &[]).await.expect("answered").get(0)
    })
}

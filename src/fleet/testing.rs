//! A database of its own for a test of the store: the cluster is named by `IGRIS_TEST_STORE_URL`, whose role may make databases.

use super::Fleet;
use super::connect::{Connector, Encryption, Place};
use crate::domain::secret::Secret;
use std::sync::Arc;
use tokio::sync::mpsc;

pub(super) fn place(url: &str) -> Place {
    let url = Arc::new(Secret::copy_of(url.as_bytes()));
    Place { url, password: None, encryption: Encryption::Off, authority: None }
}

/// Makes an empty database in the cluster and answers its URL.
pub(crate) fn database(cluster: &str, name: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let connector = Connector::new(&place(cluster)).expect("a URL");
        let listening = connector.listen().await.expect("the cluster answers");
        listening.client.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("made");
    });
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

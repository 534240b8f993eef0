//! What a fleet stands on: a network or loopback, a provider, a database, and a wire to it for each machine.

use super::machine::Machine;
use super::net::{Link, Net};
use super::postgres::{self, Database, Postgres};
use super::wire::Wire;
use crate::support::{Builder as GatewayBuilder, Gateway, Namespace};
use igris_load::Simulator;
use igris_load::simulator::Builder as SimulatorBuilder;
use std::net::SocketAddr;

/// The root key of every machine of a fleet: they open one vault.
pub const ROOT_KEY: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";
const ROOT_KEY_VARIABLE: &str = "IGRIS_TEST_ROOT_KEY";

/// What the ground shall be.
pub struct Builder {
    machines: u8,
    namespaces: bool,
    postgres: Option<postgres::Builder>,
    wires: bool,
    store: String,
    parameters: String,
    provider: SimulatorBuilder,
}

impl Builder {
    /// Each machine in a network namespace of its own, the database and the provider in the hub's; on loopback unless asked for.
    #[must_use]
    pub fn namespaces(mut self) -> Self {
        self.namespaces = true;
        self
    }

    /// One PostgreSQL for all; without it each machine has the embedded store in its own folder.
    #[must_use]
    pub fn postgres(self) -> Self {
        self.postgres_with(|cluster| cluster)
    }

    /// The same, described further: `|cluster| cluster.tls()`.
    #[must_use]
    pub fn postgres_with(mut self, more: impl FnOnce(postgres::Builder) -> postgres::Builder) -> Self {
        self.postgres = Some(more(Postgres::builder()));
        self
    }

    /// A [`Wire`] between each machine and the database.
    #[must_use]
    pub fn wires(mut self) -> Self {
        self.wires = true;
        self
    }

    /// One more line of every machine's `[store]`, beside its `url`; `{ca}` in it stands for the file with the cluster's authority.
    #[must_use]
    pub fn store(mut self, line: &str) -> Self {
        self.store.push_str(line);
        self.store.push('\n');
        self
    }

    /// What stands behind every machine's `[store]` URL, with its question mark.
    #[must_use]
    pub fn parameters(mut self, text: &str) -> Self {
        self.parameters.push_str(text);
        self
    }

    /// The provider, described further.
    #[must_use]
    pub fn provider(mut self, more: impl FnOnce(SimulatorBuilder) -> SimulatorBuilder) -> Self {
        self.provider = more(self.provider);
        self
    }

    /// Makes it all; machines are started by [`Ground::machines`].
    ///
    /// # Errors
    /// One sentence why a test must be skipped: no PostgreSQL, or no namespaces, on this machine.
    pub fn start(self) -> Result<Ground, String> {
        let net = self.namespaces.then(|| Net::of(self.machines)).transpose()?;
        let (mut cluster, mut provider) = (self.postgres, self.provider);
        if let Some(net) = &net {
            let (fleet, world) = (net.hub_address(Link::Fleet), net.hub_address(Link::World));
            cluster = cluster.map(|cluster| cluster.address(fleet).within(net.hub().name()));
            provider = provider.listen(SocketAddr::new(world, 0));
        }
        let provider = inside(net.as_ref().map(Net::hub), move || provider.start()).expect("a free port");
        let postgres = cluster.map(postgres::Builder::start).transpose()?;
        let database = postgres.as_ref().map(Postgres::database);
        let mut ground = Ground {
            wires: Vec::new(),
            database,
            postgres,
            provider,
            net,
            store: self.store,
            parameters: self.parameters,
            machines: self.machines,
        };
        if self.wires {
            let target = ground.postgres().address();
            let numbers = 0..usize::from(self.machines);
            ground.wires = numbers.map(|number| ground.on(number, move || Wire::to(target))).collect();
        }
        Ok(ground)
    }
}

/// The ground of a fleet; taken away on drop.
pub struct Ground {
    wires: Vec<Wire>,
    database: Option<Database>,
    postgres: Option<Postgres>,
    /// The provider `openai` of every machine.
    pub provider: Simulator,
    // Last, when nothing runs inside any more.
    net: Option<Net>,
    store: String,
    parameters: String,
    machines: u8,
}

impl Ground {
    /// Ground for so many machines, on loopback and with nothing but a provider unless described further.
    pub fn builder(machines: u8) -> Builder {
        Builder {
            machines,
            namespaces: false,
            postgres: None,
            wires: false,
            store: String::new(),
            parameters: String::new(),
            provider: Simulator::builder(),
        }
    }

    /// The network, which [`Builder::namespaces`] asked for.
    pub fn net(&self) -> &Net {
        self.net.as_ref().expect("`namespaces()` was asked for")
    }

    /// The cluster, which [`Builder::postgres`] asked for.
    pub fn postgres(&self) -> &Postgres {
        self.postgres.as_ref().expect("`postgres()` was asked for")
    }

    /// The database that all machines share.
    pub fn database(&self) -> &Database {
        self.database.as_ref().expect("`postgres()` was asked for")
    }

    /// Statements in the shared database, past every network and wire; rows with columns parted by a bar.
    #[track_caller]
    pub fn sql(&self, statements: &str) -> String {
        self.postgres().sql(&self.database().name, statements)
    }

    /// The wire of a machine to the database, which [`Builder::wires`] asked for.
    pub fn wire(&self, machine: usize) -> &Wire {
        self.wires.get(machine).expect("`wires()` was asked for")
    }

    /// All wires.
    pub fn wires(&self) -> &[Wire] {
        &self.wires
    }

    /// The shared database as a machine reaches it, by its wire if it has one.
    pub fn store_url(&self, machine: usize) -> String {
        let address = self.wires.get(machine).map_or(self.database().address, Wire::address);
        self.database().url_at(address) + &self.parameters
    }

    /// A machine's `[store]` as its configuration has it.
    pub fn store_section(&self, machine: usize) -> String {
        let ca = self.postgres().ca_file().unwrap_or_default().display().to_string();
        format!("[store]\nurl = \"{}\"\n{}", self.store_url(machine), self.store.replace("{ca}", &ca))
    }

    /// Does this where a machine is: sockets that it makes are that machine's, and so are its threads.
    pub fn on<T: Send>(&self, machine: usize, work: impl FnOnce() -> T + Send) -> T {
        inside(self.namespace(machine), work)
    }

    /// Where a machine is; `None` on loopback.
    pub fn namespace(&self, machine: usize) -> Option<&Namespace> {
        self.net.as_ref().map(|net| net.machine(machine))
    }

    /// Starts the gateways, one after the other; `more` describes each further.
    pub fn machines(&self, more: impl Fn(usize, GatewayBuilder) -> GatewayBuilder) -> Vec<Machine> {
        (0..usize::from(self.machines)).map(|number| self.machine(number, |builder| more(number, builder))).collect()
    }

    /// Starts one of them.
    pub fn machine(&self, number: usize, more: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Machine {
        let builder = more(self.describe(number));
        Machine::new(number, self.namespace(number).cloned(), builder.start())
    }

    /// What every machine is before a test says more: the provider, the one root key, the one store.
    pub fn describe(&self, number: usize) -> GatewayBuilder {
        let mut builder = Gateway::builder().provider("openai", &self.provider).env(ROOT_KEY_VARIABLE, ROOT_KEY);
        builder = builder.config_toml(&format!("[vault]\nroot_key = {{ env = \"{ROOT_KEY_VARIABLE}\" }}\n"));
        if self.postgres.is_some() {
            builder = builder.config_toml(&self.store_section(number));
        }
        match self.namespace(number) {
            Some(namespace) => builder.within(namespace),
            None => builder,
        }
    }
}

fn inside<T: Send>(namespace: Option<&Namespace>, work: impl FnOnce() -> T + Send) -> T {
    match namespace {
        Some(namespace) => namespace.within(work),
        None => work(),
    }
}

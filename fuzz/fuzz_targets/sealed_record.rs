//! Sealed records: of all byte strings one opens, the record that was sealed for this place; the rest is refused (rule V5).
#![no_main]

use igris::domain::id::{CredentialId, ProviderId, TenantId};
use igris::domain::secret::Secret;
use igris::vault::{DataKey, Entropy, Keyring, Place, RootSource, VaultError, open, seal};
use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

/// Counts upward, so that every run seals the same record and the corpus stays good.
struct Counting(u8);

impl Entropy for Counting {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), VaultError> {
        for byte in bytes {
            *byte = self.0;
            self.0 = self.0.wrapping_add(1);
        }
        Ok(())
    }
}

struct Sealed {
    key: DataKey,
    tenant: TenantId,
    provider: ProviderId,
    record: Vec<u8>,
}

impl Sealed {
    fn place(&self) -> Place<'_> {
        Place::credential(&self.tenant, &self.provider, "https://api.openai.com/v1", CredentialId::from_bits(7), 1, 1)
    }
}

fn sealed() -> &'static Sealed {
    static SEALED: OnceLock<Sealed> = OnceLock::new();
    SEALED.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("igris-fuzz-root-{}.key", std::process::id()));
        let root = RootSource::File(path.clone()).make(&mut Counting(0)).expect("a root key");
        std::fs::remove_file(path).expect("removed");
        let rows = Keyring::create(&root, &mut Counting(1)).expect("a hierarchy");
        let keyring = Keyring::open(root, &rows).expect("opened");
        let (tenant, provider) = (TenantId::new("acme"), ProviderId::new("openai"));
        let wrapped = keyring.make_data_key(&tenant, 1, &mut Counting(2)).expect("a data key");
        let key = keyring.open_data_key(&tenant, &wrapped).expect("opened");
        let mut sealed = Sealed { key, tenant, provider, record: Vec::new() };
        let mut counted = keyring.open_data_key(&sealed.tenant, &wrapped).expect("opened");
        let secret = Secret::copy_of(b"sk-fuzz-0123456789");
        sealed.record = seal(&mut counted, &sealed.place(), &secret, &mut Counting(3)).expect("sealed");
        sealed
    })
}

fn judge(bytes: &[u8]) {
    let sealed = sealed();
    let opened = open(&sealed.key, &sealed.place(), bytes);
    assert_eq!(opened.is_ok(), bytes == sealed.record, "only the record itself opens");
}

fuzz_target!(|data: &[u8]| {
    // As a record of its own,
    judge(data);
    // and as edits of the good one: pairs of a place and what to flip there.
    let mut edited = sealed().record.clone();
    for pair in data.chunks_exact(2) {
        let at = usize::from(pair[0]) % edited.len();
        edited[at] ^= pair[1];
    }
    judge(&edited);
});

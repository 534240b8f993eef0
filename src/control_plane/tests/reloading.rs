//! Reloads: all or nothing, twice is nothing, and what the API made survives.

use super::*;

fn reload(control: &mut Control, text: &str) -> Result<Reloaded, ControlError> {
    control.reload(WHO, Some(text))
}

#[test]
fn the_same_twice_is_nothing() {
    let house = House::new("same");
    let mut control = house.open(CONFIG);
    let again = control.reload(WHO, None).expect("fine");
    assert_eq!((again.changed, again.version, again.generation), (false, 3, 1));
    fs::write(house.file(), CONFIG.replace("version = 3", "version = 4")).expect("written");
    let newer = control.reload(WHO, None).expect("fine");
    assert_eq!((newer.changed, newer.version, newer.generation), (true, 4, 2));
    assert_eq!(control.published().load().config.version, 4);
    assert!(!control.reload(WHO, None).expect("fine").changed);
    let rows = control.store.admin().audit_tail(9).expect("read");
    let version = |mark: &str| mark.split_once(':').map(|(version, digest)| (version.to_owned(), digest.len()));
    assert_eq!((rows.len(), rows[0].what.as_str()), (2, "config.put"));
    assert_eq!((version(&rows[0].before), version(&rows[0].after)), (Some(("3".into(), 32)), Some(("4".into(), 32))));
    assert_eq!((rows[1].after.as_str(), rows[1].before.as_str()), (rows[0].before.as_str(), ""));
}

#[test]
fn a_bad_one_changes_nothing_and_says_every_reason() {
    let house = House::new("bad");
    let mut control = house.open(CONFIG);
    let before = control.published().load_full();
    let file = house.file().display().to_string();
    let bad = [
        CONFIG.replace("policy = \"ordered\"", "polcy = \"ordered\"\nname2 = 1"),
        CONFIG.replace("OPENAI_API_KEY", "NOT_SET_ANYWHERE"),
        CONFIG.replace("version = 3", &format!("version = 3\nserver.tls = {{ cert = \"{file}\", key = \"{file}\" }}")),
        CONFIG.replace("APP_KEY", "SHORT"),
    ];
    for (text, parts) in bad.iter().zip([&["polcy", "name2"][..], &["NOT_SET_ANYWHERE"], &["certificate"], &["SHORT"]])
    {
        // A version that moves with it would be noticed.
        let text = text.replace("version = 3", "version = 9");
        let error = reload(&mut control, &text).expect_err(parts[0]);
        assert_eq!(error.status(), 422);
        let lines = error.lines().join("\n");
        assert!(parts.iter().all(|part| lines.contains(part)), "{lines}");
    }
    let after = control.published().load_full();
    assert!(Arc::ptr_eq(&before, &after), "nothing was published");
    assert_eq!(control.config_status()["version"], 3);
    assert!(events(&control).contains("refused"));
    assert!(keys_for(&control, "acme", "openai") == [OPENAI_KEY] && shown(&control, APP_KEY.as_bytes()).is_some());
}

#[test]
fn a_refusal_by_the_store_undoes_the_whole_transaction() {
    let mut house = House::new("undo");
    house.env.insert("SECOND".to_owned(), "second-CANARY-0123456789".to_owned());
    let mut control = house.open(CONFIG);
    // The same text for another tenant: found out only against the store, after the first key and the tenants were written.
    let second = "[[access_keys]]\nname = \"second\"\ntenant = \"late\"\nkey = { env = \"SECOND\" }\n[[tenants]]\nid = \"late\"\n";
    let text = format!("{}{second}", CONFIG.replace("tenant = \"acme\"", "tenant = \"default\""));
    let error = reload(&mut control, &text).expect_err("one text cannot name two tenants");
    assert!(error.to_string().contains("another tenant"), "{error}");
    assert!(!control.tenants().expect("listed").iter().any(|tenant| tenant.id == "late"));
    assert!(shown(&control, b"second-CANARY-0123456789").is_none());
}

#[test]
fn what_the_api_made_survives_and_what_left_the_configuration_goes() {
    let mut house = House::new("survive");
    house.env.insert("OTHER_KEY".to_owned(), "sk-CANARY-replaced-0123".to_owned());
    let mut control = house.open(CONFIG);
    add(&mut control, "acme", "openai", "sk-CANARY-acme-0123456789").expect("added");
    add(&mut control, "acme", "mistral", "CANARY0123456789mistral-key").expect("added");
    control.create_tenant(WHO, "beta").expect("made");
    let new = NewAccess { name: "x".to_owned(), scopes: Scopes::ALL, limits: Default::default(), expires: None };
    let (_, text) = control.make_access_key(WHO, &tenant("beta"), new).expect("made");

    let (head, keys) = CONFIG.split_once("[[access_keys]]").expect("there are some");
    let bare = head.replace("OPENAI_API_KEY", "OTHER_KEY");
    assert!(reload(&mut control, &bare).expect("fine").changed);
    assert!(shown(&control, APP_KEY.as_bytes()).is_none(), "it left");
    assert!(shown(&control, text.expose()).is_some(), "it was made by the API");
    assert_eq!(keys_for(&control, "acme", "openai"), ["sk-CANARY-acme-0123456789"]);
    assert_eq!(keys_for(&control, "beta", "openai"), ["sk-CANARY-replaced-0123"]);
    assert_eq!(providers(&control), ["local-vllm", "openai", "mistral"]);

    // It comes back with its id and the configuration's terms.
    reload(&mut control, &format!("{bare}[[access_keys]]{}", keys.replace("\"costs\"", "\"keys\""))).expect("fine");
    assert!(shown(&control, APP_KEY.as_bytes()).is_some_and(|key| key.scopes.has(Scope::Keys)));
    assert_eq!(control.access_keys(&tenant("acme")).expect("listed").len(), 1);
    // Revoked by hand it stays revoked, and the configuration is still good.
    let id = shown(&control, APP_KEY.as_bytes()).expect("there").id;
    control.revoke_access_key(WHO, &tenant("acme"), id).expect("revoked");
    reload(&mut control, &CONFIG.replace("version = 3", "version = 5")).expect("fine");
    assert!(shown(&control, APP_KEY.as_bytes()).is_none() && events(&control).contains("was revoked and stays so"));

    // No provider at all: its supplied keys are erased, the tenant's own wait.
    reload(&mut control, "version = 6\n").expect("fine");
    assert_eq!(providers(&control), ["mistral", "openai"]);
    assert!(keys_for(&control, "beta", "openai").is_empty(), "the operator's key left with the configuration");
    assert!(keys_for(&control, "acme", "openai").is_empty() && events(&control).contains("another address"), "rule T5");
}

#[test]
fn a_provider_that_moves_does_not_get_the_old_keys() {
    let house = House::new("moved");
    let mut control = house.open(CONFIG);
    add(&mut control, "acme", "openai", "sk-CANARY-acme-0123456789").expect("added");
    reload(&mut control, &CONFIG.replace("127.0.0.1:9001", "127.0.0.1:9002")).expect("fine");
    // The operator's key was supplied anew for the new address; the tenant's was given for the old one.
    assert_eq!(keys_for(&control, "acme", "openai"), [OPENAI_KEY]);
    assert!(events(&control).contains("another address"));
    reload(&mut control, CONFIG).expect("fine");
    assert_eq!(keys_for(&control, "acme", "openai"), ["sk-CANARY-acme-0123456789"], "back where it belongs");
}

#[test]
fn what_needs_a_restart_is_said() {
    let house = House::new("restart");
    let mut control = house.open(CONFIG);
    let moved =
        "version = 4\n[server]\nlisten = [\"127.0.0.1:9999\"]\nworkers = 3\n[store]\nurl = \"sqlite:elsewhere.db\"";
    let text = CONFIG.replace("version = 3", moved);
    let warnings = reload(&mut control, &text).expect("fine").warnings.join("\n");
    for key in ["server.listen", "server.workers", "store.url"] {
        assert!(warnings.contains(key), "{key}: {warnings}");
    }
    assert!(!warnings.contains("server.io"));
}

#[test]
fn a_key_file_that_changed_is_read_again_with_the_same_text() {
    let house = House::new("key-file");
    let file = house.directory.join("openai.key");
    fs::create_dir_all(&house.directory).expect("a directory");
    fs::write(&file, "sk-CANARY-first-0123456789\n").expect("written");
    let text = CONFIG.replace("env = \"OPENAI_API_KEY\"", &format!("file = \"{}\"", file.display()));
    let mut control = house.open(&text);
    assert_eq!(keys_for(&control, "acme", "openai"), ["sk-CANARY-first-0123456789"]);
    assert!(!control.reload(WHO, None).expect("fine").changed);
    fs::write(&file, "sk-CANARY-second-0123456789\n").expect("written");
    assert!(control.reload(WHO, None).expect("fine").changed);
    assert_eq!(keys_for(&control, "acme", "openai"), ["sk-CANARY-second-0123456789"]);
}

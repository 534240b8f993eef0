//! The listener's certificates over reloads: a bad pair is refused and the old one stays (rule S4).

use super::*;

// Made with openssl for tests, valid from 2020 to 2120; they open nothing.
pub(super) const CA: &str = "-----BEGIN CERTIFICATE-----
MIIBZDCCAQmgAwIBAgIBATAKBggqhkjOPQQDAjAYMRYwFAYDVQQDDA1pZ3JpcyB0
ZXN0IENBMCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAYMRYwFAYD
VQQDDA1pZ3JpcyB0ZXN0IENBMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEdSPW
YtvAUMTppQ3R1KMh/7eXezIxSVUpxe7y9ZS2k9FekIAfzQC7bKQIKSC45FHN1un/
r++A9EVHIc4upLiOKqNCMEAwDwYDVR0TAQH/BAUwAwEB/zAOBgNVHQ8BAf8EBAMC
AgQwHQYDVR0OBBYEFCYkHiKBZ7rYe8z5ueEPFXvzJSguMAoGCCqGSM49BAMCA0kA
MEYCIQDZVbAVxeV1etMBvGzHbRU8kjivV99DW87qiTNN38nL/QIhAOFsUzL67z2a
dHU913J7L5uXkE7xEL5IxPlZhBJo7Inx
-----END CERTIFICATE-----";
pub(super) const SERVER: &str = "-----BEGIN CERTIFICATE-----
MIIBrzCCAVWgAwIBAgIBAjAKBggqhkjOPQQDAjAYMRYwFAYDVQQDDA1pZ3JpcyB0
ZXN0IENBMCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAcMRowGAYD
VQQDDBFpZ3JpcyB0ZXN0IHNlcnZlcjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA
BNVz395UwJ8uoedVgagrxKVm4rvJqgfS5Hp/ToYyhm29g16P/3jxHhvLILUB0gGb
UPx4ot22Ekpp7vHTytlWI1mjgYkwgYYwCQYDVR0TBAIwADAaBgNVHREEEzARggls
b2NhbGhvc3SHBH8AAAEwHQYDVR0lBBYwFAYIKwYBBQUHAwEGCCsGAQUFBwMCMB0G
A1UdDgQWBBTM0sGSzU2j2iU8Easle3OQ5qV30jAfBgNVHSMEGDAWgBQmJB4igWe6
2HvM+bnhDxV78yUoLjAKBggqhkjOPQQDAgNIADBFAiEA+07Mk0MZzOEajY2vPMEV
pe4zMQOxmX39BWKdG33tRHkCIEaTVe5tRotOpUecsLwqWQhyt74YY8Qe2ymbMDx/
YqtV
-----END CERTIFICATE-----";
pub(super) const SERVER_KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgujf78APd2Hb0aeql
B5h8vWl/Wo7L8shKLCecbI7X9sqhRANCAATVc9/eVMCfLqHnVYGoK8SlZuK7yaoH
0uR6f06GMoZtvYNej/948R4byyC1AdIBm1D8eKLdthJKae7x08rZViNZ
-----END PRIVATE KEY-----";
/// The key of another certificate.
const OTHER_KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgrsizctubFI8Tyj98
7wNNRIqduzb7EDYVxwXyY1JPmCehRANCAAT5m98NgZQrTcHgzhNi2U7MAoFxUkxg
4qlEf4p6yUiy8i7UmxecUj6G+C2VnLqpO803A+tgOfTXDAJ7gN1ilXuQ
-----END PRIVATE KEY-----";

#[test]
fn a_new_pair_is_published_and_a_bad_one_leaves_the_old() {
    let house = House::new("listener");
    fs::create_dir_all(&house.directory).expect("a directory");
    let (cert, key) = (house.directory.join("cert.pem"), house.directory.join("key.pem"));
    let write = |chain: &str, secret: &str| {
        fs::write(&cert, chain).expect("written");
        fs::write(&key, secret).expect("written");
    };
    write(SERVER, SERVER_KEY);
    let tls = format!("version = 3\nserver.tls = {{ cert = \"{}\", key = \"{}\" }}", cert.display(), key.display());
    let mut control = house.open(&CONFIG.replace("version = 3", &tls));
    let live = |control: &Control| control.published().load().listener_tls.clone().expect("TLS");
    let first = live(&control);

    write(SERVER, OTHER_KEY);
    let error = control.reload(WHO, None).expect_err("not the key of that certificate");
    assert!(error.status() == 422 && error.to_string().contains("do not fit together"), "{error}");
    fs::remove_file(&key).expect("removed");
    assert!(control.reload(WHO, None).expect_err("no key").to_string().contains("key.pem"));
    assert!(Arc::ptr_eq(&first, &live(&control)), "rule S4");

    write(SERVER, SERVER_KEY);
    assert!(!control.reload(WHO, None).expect("as before").changed);
    let chain = format!("{SERVER}\n{CA}");
    write(&chain, SERVER_KEY);
    assert!(control.reload(WHO, None).expect("a longer chain").changed);
    let second = live(&control);
    assert!(!Arc::ptr_eq(&first, &second));
    // Another configuration with the same files keeps the pair, and with it the tickets of clients.
    fs::write(house.file(), CONFIG.replace("version = 3", &tls.replace("= 3", "= 4"))).expect("written");
    assert!(control.reload(WHO, None).expect("fine").changed);
    assert!(Arc::ptr_eq(&second, &live(&control)));
}

#[test]
fn a_providers_own_authority_makes_a_profile_of_its_own() {
    let house = House::new("authority");
    fs::create_dir_all(&house.directory).expect("a directory");
    let file = house.directory.join("ca.pem");
    fs::write(&file, CA).expect("written");
    let own = "name = \"own\"\ndialect = \"openai\"\nbase_url = \"https://127.0.0.1:8443/v1\"\nallow_private_address = true\n";
    let text =
        format!("[[providers]]\n{own}ca = \"{}\"\n[[providers]]\n{}", file.display(), own.replace("own", "plain"));
    let mut control = house.open(&text);
    let snapshot = control.published().load_full();
    let [own, plain] = &snapshot.providers[..] else { panic!("two providers") };
    assert_eq!(&*plain.origin.key, "https://127.0.0.1:8443");
    assert!(own.origin.key.starts_with("https://127.0.0.1:8443#") && own.origin.key != plain.origin.key);
    let config = |provider: &Provider| provider.origin.tls.as_ref().expect("TLS").config.clone();
    assert!(!Arc::ptr_eq(&config(own), &config(plain)));
    fs::write(&file, "no PEM").expect("written");
    let error = control.reload(WHO, None).expect_err("not an authority");
    assert!(error.to_string().contains("provider `own`"), "{error}");
    // Profiles outlive a reload, so that sessions are taken up again.
    fs::write(&file, CA).expect("written");
    assert!(control.reload(WHO, Some(&format!("version = 2\n{text}"))).expect("fine").changed);
    let after = control.published().load_full();
    assert!(Arc::ptr_eq(&config(&after.providers[0]), &config(own)));
}

//! The bill of materials of the programs, in CycloneDX 1.6 (<https://cyclonedx.org/docs/1.6/json/>): what is compiled into them, and nothing else.
//!
//! It is a function of `Cargo.lock`, the manifests and the time that stands for now: the same commit gives the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

use crate::place::Place;
use crate::process::ask;
use crate::rust;

/// Packages whose programs a release has.
const ROOTS: [&str; 2] = ["igris-overture", "igris-load"];

/// The bill as JSON, with a line end.
///
/// # Errors
/// cargo does not say what there is, or says it in another form.
pub fn bill(place: &Place, epoch: u64) -> Result<String> {
    let host = ask(Command::new("rustc").arg("-vV"))?.output;
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc says its host")?;
    let words = ["metadata", "--locked", "--format-version", "1", "--filter-platform", host];
    let output = rust::cargo(place, &words).output().context("cargo cannot be started")?;
    ensure!(output.status.success(), "cargo metadata fails: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let lock = std::fs::read_to_string(place.root.join("Cargo.lock"))?;
    let date = ask(Command::new("date").args(["-u", "-d", &format!("@{epoch}"), "+%Y-%m-%dT%H:%M:%SZ"]))?;
    ensure!(date.ok, "date fails: {}", date.output);
    let bill = of(&metadata, &checksums(&lock), date.output.trim())?;
    Ok(serde_json::to_string_pretty(&bill)? + "\n")
}

/// SHA-256 of each package, by `name version`, as `Cargo.lock` has it.
fn checksums(lock: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for block in lock.split("[[package]]") {
        let value = |key: &str| {
            let line = block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))?;
            Some(line.trim_matches('"').to_owned())
        };
        if let (Some(name), Some(version), Some(sum)) = (value("name"), value("version"), value("checksum")) {
            found.insert(format!("{name} {version}"), sum);
        }
    }
    found
}

fn of(metadata: &Value, sums: &BTreeMap<String, String>, date: &str) -> Result<Value> {
    let packages: BTreeMap<&str, &Value> =
        rows(metadata, "/packages")?.iter().filter_map(|package| Some((package["id"].as_str()?, package))).collect();
    let nodes: BTreeMap<&str, &Value> =
        rows(metadata, "/resolve/nodes")?.iter().filter_map(|node| Some((node["id"].as_str()?, node))).collect();
    let is_root = |id: &&&str| packages.get(**id).is_some_and(|package| ROOTS.contains(&text(package, "name")));
    let roots: Vec<&str> = nodes.keys().filter(is_root).copied().collect();
    ensure!(roots.len() == ROOTS.len(), "cargo metadata has not all of {ROOTS:?}");
    let mut reached = BTreeMap::new();
    let mut next = roots.clone();
    while let Some(id) = next.pop() {
        if !reached.contains_key(id) {
            let below = compiled_in(nodes.get(id).copied());
            next.extend(below.iter().copied());
            reached.insert(id, below);
        }
    }
    let mut components = Vec::new();
    let mut dependencies = BTreeMap::new();
    for (id, below) in &reached {
        let package = packages.get(id).with_context(|| format!("{id} is in no list of packages"))?;
        let below: BTreeSet<String> = below.iter().filter_map(|id| packages.get(id)).map(|p| purl(p)).collect();
        dependencies.insert(purl(package), below);
        if text(package, "name") != ROOTS[0] {
            components.push((purl(package), component(package, sums)));
        }
    }
    components.push(("pkg:npm/uplot@1.6.32".to_owned(), uplot()));
    components.sort_by(|one, other| one.0.cmp(&other.0));
    let gateway = roots.iter().filter_map(|id| packages.get(id)).find(|package| text(package, "name") == ROOTS[0]);
    let mut gateway = component(gateway.context("the gateway is a package")?, sums);
    gateway["type"] = json!("application");
    let dependencies: Vec<Value> =
        dependencies.iter().map(|(from, below)| json!({"ref": from, "dependsOn": below})).collect();
    Ok(json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"timestamp": date, "component": gateway},
        "components": components.into_iter().map(|(_, component)| component).collect::<Vec<Value>>(),
        "dependencies": dependencies,
    }))
}

/// What of a package's dependencies ends up in a program: neither build scripts' nor tests'. Macros are among them, as cargo does not set them apart.
fn compiled_in(node: Option<&Value>) -> Vec<&str> {
    let all = node.and_then(|node| node["deps"].as_array()).into_iter().flatten();
    let normal = |dep: &&Value| dep["dep_kinds"].as_array().into_iter().flatten().any(|kind| kind["kind"].is_null());
    all.filter(normal).filter_map(|dep| dep["pkg"].as_str()).collect()
}

fn component(package: &Value, sums: &BTreeMap<String, String>) -> Value {
    let (name, version) = (text(package, "name"), text(package, "version"));
    let mut component = Map::new();
    component.insert("type".to_owned(), json!("library"));
    component.insert("bom-ref".to_owned(), json!(purl(package)));
    component.insert("name".to_owned(), json!(name));
    component.insert("version".to_owned(), json!(version));
    if let Some(words) = package["description"].as_str() {
        component.insert("description".to_owned(), json!(words.split_whitespace().collect::<Vec<_>>().join(" ")));
    }
    if let Some(sum) = sums.get(&format!("{name} {version}")) {
        component.insert("hashes".to_owned(), json!([{"alg": "SHA-256", "content": sum}]));
    }
    if let Some(licence) = package["license"].as_str() {
        // The older form with a slash means a choice.
        component.insert("licenses".to_owned(), json!([{"expression": licence.replace('/', " OR ")}]));
    }
    component.insert("purl".to_owned(), json!(purl(package)));
    if let Some(url) = package["repository"].as_str() {
        component.insert("externalReferences".to_owned(), json!([{"type": "vcs", "url": url}]));
    }
    Value::Object(component)
}

/// The one thing in the program that cargo does not know of: what draws the dashboard's plots.
fn uplot() -> Value {
    json!({
        "type": "library", "bom-ref": "pkg:npm/uplot@1.6.32", "name": "uplot", "version": "1.6.32",
        "licenses": [{"license": {"id": "MIT"}}], "purl": "pkg:npm/uplot@1.6.32",
    })
}

/// The package URL (<https://github.com/package-url/purl-spec>).
fn purl(package: &Value) -> String {
    format!("pkg:cargo/{}@{}", text(package, "name"), text(package, "version").replace('+', "%2B"))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn rows<'a>(value: &'a Value, place: &str) -> Result<&'a Vec<Value>> {
    value.pointer(place).and_then(Value::as_array).with_context(|| format!("cargo metadata has no {place}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str) -> Value {
        json!({"id": name, "name": name, "version": "1.0.0+a", "license": "MIT/Apache-2.0"})
    }

    #[test]
    fn it_names_what_is_compiled_in_and_nothing_else() {
        let dep = |name: &str, kind: Value| json!({"pkg": name, "dep_kinds": [{"kind": kind}]});
        let packages = ["igris-overture", "igris-load", "used", "below", "builds", "tests"].map(package);
        let metadata = json!({
            "packages": packages,
            "resolve": {"nodes": [
                {"id": "igris-overture", "deps": [
                    dep("used", Value::Null), dep("builds", json!("build")), dep("tests", json!("dev")),
                ]},
                {"id": "igris-load", "deps": []},
                {"id": "used", "deps": [dep("below", Value::Null)]},
                {"id": "below", "deps": [dep("used", Value::Null)]},
                {"id": "builds", "deps": []},
                {"id": "tests", "deps": []},
            ]},
        });
        let lock = "[[package]]\nname = \"used\"\nversion = \"1.0.0+a\"\nchecksum = \"ab\"\n";
        let bill = of(&metadata, &checksums(lock), "2026-11-27T00:00:00Z").expect("a bill");
        let names = |place: &str| -> Vec<String> {
            let rows = bill.pointer(place).and_then(Value::as_array).expect("rows");
            rows.iter().map(|row| text(row, "name").to_owned()).collect()
        };
        assert_eq!(names("/components"), ["below", "igris-load", "used", "uplot"]);
        let used = &bill["components"][2];
        assert_eq!(used["hashes"][0]["content"], "ab");
        assert_eq!(used["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(used["purl"], "pkg:cargo/used@1.0.0%2Ba");
        assert_eq!(bill["dependencies"].as_array().map(Vec::len), Some(4));
    }
}

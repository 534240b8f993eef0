//! Verbs become requests, and requests reach a real gateway.

use super::*;
use crate::cli::{Cli, Command};
use clap::Parser;
use serde_json::json;

fn called(line: &str) -> Call {
    let cli = Cli::try_parse_from(line.split_whitespace()).expect(line);
    let Command::Admin(args) = cli.command else { panic!("not admin: {line}") };
    call(&args.verb).expect(line)
}

#[test]
fn verbs_become_requests() {
    for (line, request) in [
        ("igris admin status", "GET /status"),
        ("igris admin reload --json", "POST /reload"),
        ("igris admin reload --watch 30s", "POST /reload?watch=30s"),
        ("igris admin rollout", "GET /rollout"),
        ("igris admin rollout revert", "POST /rollout/revert"),
        ("igris admin keys list openai --tenant acme", "GET /providers/openai/keys?tenant=acme"),
        ("igris admin keys remove openai key_1", "DELETE /providers/openai/keys/key_1?tenant=default"),
        ("igris admin rotations", "GET /rotations?tenant=default"),
        ("igris admin rotations --tenant acme", "GET /rotations?tenant=acme"),
        ("igris admin rotations list --provider openai", "GET /rotations?tenant=default&provider=openai"),
        ("igris admin rotations show rot_1 --tenant acme", "GET /rotations/rot_1?tenant=acme"),
        ("igris admin rotations cancel rot_1", "POST /rotations/rot_1/cancel?tenant=default"),
        ("igris admin rotations complete rot_1", "POST /rotations/rot_1/complete?tenant=default"),
        ("igris admin tenants remove acme", "DELETE /tenants/acme"),
        ("igris admin access-keys revoke ak_1 --tenant acme", "DELETE /access-keys/ak_1?tenant=acme"),
        ("igris admin access-keys show ak_1", "GET /access-keys/ak_1?tenant=default"),
        ("igris admin access-keys update ak_1 --name app", "PATCH /access-keys/ak_1?tenant=default"),
        ("igris admin access-keys rotate ak_1 --tenant acme", "POST /access-keys/ak_1/rotate?tenant=acme"),
        ("igris admin breakers", "GET /breakers"),
        ("igris admin breakers openai open", "POST /breakers/openai/open"),
        ("igris admin explain req_1", "GET /decisions/req_1"),
        ("igris admin decisions", "GET /decisions"),
        (
            "igris admin decisions --model a/b&c --status 200 --limit 5 --jsonl",
            "GET /decisions?model=a%2Fb%26c&status=200&limit=5&format=jsonl",
        ),
        ("igris admin scores --json", "GET /scores"),
        ("igris admin usage --period month", "GET /usage?period=month"),
        ("igris admin usage --tenant acme", "GET /usage?tenant=acme"),
        ("igris admin costs", "GET /costs?group_by=provider,model"),
        (
            "igris admin costs --tenant acme --from 2026-11-01T00:00:00Z --group-by tenant,access_key --bucket week --limit 5",
            "GET /costs?tenant=acme&from=2026-11-01T00%3A00%3A00Z&group_by=tenant,access_key&bucket=week&limit=5",
        ),
        ("igris admin costs forecast --tenant acme", "GET /costs/forecast?tenant=acme"),
        ("igris admin costs forecast --scope machine", "GET /costs/forecast?scope=machine"),
        ("igris admin usage --scope machine --period day", "GET /usage?scope=machine&period=day"),
        ("igris admin costs --scope machine", "GET /costs?scope=machine&group_by=provider,model"),
        ("igris admin budgets", "GET /budgets"),
        ("igris admin budgets show --tenant acme", "GET /budgets?tenant=acme"),
        ("igris admin budgets set $5/day --access-key ak_1", "POST /budgets?tenant=default"),
        (
            "igris admin budgets remove --access-key ak_1 --period day",
            "DELETE /budgets?tenant=default&access_key=ak_1&period=day",
        ),
        ("igris admin alerts", "GET /alerts"),
        ("igris admin alerts --tenant acme --type anomaly", "GET /alerts?tenant=acme&type=anomaly"),
        ("igris admin alerts ack al_1", "POST /alerts/al_1/acknowledge?tenant=default"),
        ("igris admin alerts test pager", "POST /alerts/webhooks/config%3Apager/test?tenant=default"),
        ("igris admin alerts messages wh_1 --tenant acme", "GET /alerts/webhooks/wh_1/messages?tenant=acme"),
    ] {
        let call = called(line);
        assert_eq!(format!("{} {}", call.method, call.target), request);
    }
    let call = called("igris admin access-keys add --name app --scope inference --scope costs");
    let (_, body) = call.body.expect("a body");
    let body: Value = serde_json::from_slice(body.expose()).expect("JSON");
    assert_eq!(body, json!({ "name": "app", "scopes": ["inference", "costs"] }));
    for (line, sent) in [
        (
            "igris admin access-keys update ak_1 --expires-at never --limits {\"budget\":null}",
            json!({ "expires_at": null, "limits": { "budget": null } }),
        ),
        ("igris admin access-keys rotate ak_1 --overlap-minutes 0", json!({ "overlap_minutes": 0 })),
        ("igris admin access-keys rotate ak_1", json!({})),
    ] {
        let (_, body) = called(line).body.expect("a body");
        let body: Value = serde_json::from_slice(body.expose()).expect("JSON");
        assert_eq!(body, sent, "{line}");
    }
}

fn args(line: &str, socket: &std::path::Path) -> AdminArgs {
    let cli = Cli::try_parse_from(line.split_whitespace()).expect(line);
    let Command::Admin(mut args) = cli.command else { panic!("not admin: {line}") };
    args.socket = socket.to_owned();
    args
}

#[test]
fn commands_reach_a_real_gateway() {
    let (house, path, end) = crate::admin::house::House::in_thread();
    let key = path.with_file_name("provider.key");
    std::fs::write(&key, crate::admin::house::CANARY).expect("written");
    let good = [
        "igris admin status",
        "igris admin tenants add acme",
        "igris admin tenants list",
        "igris admin access-keys add --tenant acme --name app --limits {\"concurrent\":3}",
        "igris admin access-keys list --tenant acme --json",
        "igris admin keys list openai",
        "igris admin providers",
        "igris admin breakers",
        "igris admin breakers openai open --json",
        "igris admin breakers openai reset",
        "igris admin routes",
        "igris admin scores",
        "igris admin usage --tenant acme --period week",
        "igris admin costs --group-by tenant --bucket day --period month",
        "igris admin costs forecast",
        "igris admin decisions",
        "igris admin decisions --jsonl --tenant acme",
        "igris admin metrics",
        "igris admin config",
        "igris admin reload",
        "igris admin drain",
    ];
    for line in good {
        assert_eq!(format!("{:?}", run(&args(line, &path))), format!("{:?}", ExitCode::SUCCESS), "{line}");
    }
    let add = format!("igris admin keys add openai --tenant acme --timeout 9s --key-file {}", key.display());
    assert_eq!(format!("{:?}", run(&args(&add, &path))), format!("{:?}", ExitCode::SUCCESS));
    let acme = crate::domain::id::TenantId::new("acme");
    std::fs::write(&key, format!("{}-2", crate::admin::house::CANARY)).expect("written");
    let rotate = format!("igris admin rotate openai --tenant acme --grace 1m --key-file {}", key.display());
    for line in [rotate.as_str(), "igris admin rotations --tenant acme", "igris admin keys list openai --tenant acme"] {
        assert_eq!(format!("{:?}", run(&args(line, &path))), format!("{:?}", ExitCode::SUCCESS), "{line}");
    }
    let stored = crate::control_plane::lock(&house).credentials(&acme, Some("openai")).expect("stored");
    assert_eq!(stored[0].config.timeout_ms, 9_000);
    for line in [
        "igris admin tenants add acme",
        "igris admin keys show openai key_1",
        "igris admin usage --tenant nobody",
        "igris admin costs --tenant nobody",
        "igris admin costs --from yesterday",
        "igris admin explain req_1",
    ] {
        assert_eq!(format!("{:?}", run(&args(line, &path))), format!("{:?}", ExitCode::from(EXIT_FAILURE)), "{line}");
    }
    end();
    let refused = ask(&args("igris admin status", &path), &called("igris admin status")).expect_err("nobody there");
    assert!(format!("{refused:#}").contains("start `igris serve`"), "{refused:#}");
}

#[test]
fn nothing_in_the_arguments_reaches_another_path() {
    for line in [
        "igris admin keys list ../tenants",
        "igris admin keys list openai --tenant a&period=b",
        "igris admin tenants remove a/b",
        "igris admin breakers openai",
        "igris admin breakers openai explode",
        "igris admin keys add openai sk-in-the-arguments",
        "igris admin rotate openai sk-in-the-arguments",
        "igris admin rotations show ../tenants",
    ] {
        assert!(Cli::try_parse_from(line.split_whitespace()).is_err(), "{line}");
    }
}

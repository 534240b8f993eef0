//! The books as people ask them: sums by everything there is, times and their borders, the trend, the forecast, and who may see what.
//!
//! What traffic cost is computed from the simulators' own log and the prices of the configuration; what the past cost is written into the
//! books of a gateway that does not run.

mod support;

use igris::domain::clock::UnixMillis;
use igris::domain::id::{AccessKeyId, CredentialId, ProviderId, TenantId};
use igris::domain::money::Money;
use igris::store::{Store, UsageBatch, UsageRow};
use igris_load::Simulator;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use support::{
    ACCESS_KEY, Answer, BOOKS_KEY, Gateway, INFERENCE_KEY, SOON, STRANGER_KEY, bare, bearer, chat_of, post_with,
    wait_until,
};

const PRICES: &str = r#"
[[prices]]
provider = "openai"
model = "gpt-4o"
input = "$1.234567/Mtok"
output = "$9.876543/Mtok"
[[prices]]
provider = "openai"
model = "gpt-4o-mini"
input = "$0.15/Mtok"
output = "$0.6/Mtok"
"#;

/// Picodollars of a token, in and out.
fn price(model: &str) -> (i128, i128) {
    match model {
        "gpt-4o" => (1_234_567, 9_876_543),
        "gpt-4o-mini" => (150_000, 600_000),
        other => panic!("no price for {other}"),
    }
}

fn get(gateway: &Gateway, key: &str, path: &str) -> Answer {
    gateway.ask(&bare("GET", path, &bearer(key)))
}

fn page(gateway: &Gateway, path: &str) -> Value {
    let answer = get(gateway, ACCESS_KEY, path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

fn admin(gateway: &Gateway, path: &str) -> Value {
    let answer = gateway.admin(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

fn money(value: &Value) -> Money {
    let text = value["cost"].as_str().unwrap_or_else(|| panic!("no exact cost in {value}"));
    let amount = Money::parse_usd(text).unwrap_or_else(|| panic!("{text} is no amount"));
    let float = value["cost_usd"].as_f64().expect("a number");
    assert!((float - amount.to_usd()).abs() <= 1e-9 * amount.to_usd().abs(), "{value}");
    amount
}

/// Name by name, what the lines of an answer cost.
fn by_name(answer: &Value, names: &[&str]) -> BTreeMap<String, (u64, Money)> {
    let lines = answer["data"].as_array().unwrap_or_else(|| panic!("no lines in {answer}"));
    let name = |line: &Value| {
        let parts: Vec<&str> = names.iter().map(|name| line[*name].as_str().unwrap_or("?")).collect();
        parts.join(" ")
    };
    let found: BTreeMap<_, _> =
        lines.iter().map(|line| (name(line), (line["attempts"].as_u64().expect("a count"), money(line)))).collect();
    assert_eq!(found.len(), lines.len(), "a name twice in {answer}");
    found
}

#[test]
fn sums_by_everything_are_what_the_provider_saw() {
    let simulator = Simulator::builder().start().expect("a loopback port");
    let gateway = Gateway::builder().provider("openai", &simulator).config_toml(PRICES).start();
    let mut dice = fastrand::Rng::with_seed(6);
    let keys = [(ACCESS_KEY, "default"), (INFERENCE_KEY, "default"), (STRANGER_KEY, "other")];
    let mut asked = Vec::new();
    for _ in 0..40 {
        let (key, tenant) = keys[dice.usize(..keys.len())];
        let model = ["gpt-4o", "gpt-4o-mini"][dice.usize(..2)];
        let policy = ["cost", "latency"][dice.usize(..2)];
        let members = format!(r#","routing_policy":"{policy}","user":"sim:tokens={}""#, dice.u32(1..50));
        let body = chat_of(model, &"x".repeat(dice.usize(1..500)), &members);
        let answer = gateway.ask(&post_with("/v1/chat/completions", &bearer(key), body.as_bytes()));
        assert_eq!(answer.status, 200, "{}", answer.text());
        asked.push((tenant, key, model));
    }
    assert!(simulator.truth().wait_settled(SOON));
    let seen = simulator.truth().requests();
    assert_eq!(seen.len(), asked.len());
    let mut truth = BTreeMap::<(&str, &str, &str), (u64, Money)>::new();
    for (name, seen) in asked.into_iter().zip(seen) {
        let (input, output) = price(name.2);
        let pico = i128::from(seen.prompt_tokens) * input + i128::from(seen.completion_tokens) * output;
        let sum = truth.entry(name).or_default();
        (sum.0, sum.1) = (sum.0 + 1, sum.1 + Money::from_pico(pico));
    }
    let sum = |chosen: &dyn Fn(&(&str, &str, &str)) -> bool| {
        let chosen = truth.iter().filter(|(name, _)| chosen(name));
        chosen.fold((0, Money::ZERO), |sum, (_, one)| (sum.0 + one.0, sum.1 + one.1))
    };
    wait_until(SOON, "everything is booked", || admin(&gateway, "/usage?period=day")["attempts"] == 40);

    let usage = page(&gateway, "/v1/tenants/default/usage?period=day");
    let own = sum(&|name| name.0 == "default");
    assert_eq!((usage["requests"].as_u64(), money(&usage)), (Some(own.0), own.1), "{usage}");
    for (by, names) in [("by_provider", 1), ("by_model", 2), ("by_key", 1), ("by_policy", 2)] {
        let sums: Vec<&Value> = usage[by].as_object().expect(by).values().collect();
        assert_eq!(sums.len(), names, "{by}: {usage}");
        assert_eq!(sums.iter().map(|sums| money(sums)).sum::<Money>(), own.1, "{by}");
    }
    assert_eq!(money(&usage["by_model"]["gpt-4o"]), sum(&|name| name.0 == "default" && name.2 == "gpt-4o").1);
    for (member, least) in [("failed", 0), ("estimated", 0), ("unpriced", 0)] {
        assert_eq!(usage[member], least, "{usage}");
    }

    let costs = page(&gateway, "/v1/tenants/default/costs?period=day&group_by=access_key,model");
    let lines = by_name(&costs, &["access_key", "model"]);
    assert_eq!(lines.values().map(|line| line.1).sum::<Money>(), own.1);
    assert_eq!(lines.len(), truth.keys().filter(|name| name.0 == "default").count(), "{costs}");
    for (name, expected) in truth.iter().filter(|(name, _)| name.0 == "default") {
        assert!(lines.values().any(|line| line == expected), "{name:?} {expected:?} in {costs}");
    }
    let tenants = by_name(&admin(&gateway, "/costs?period=day&group_by=tenant,provider"), &["tenant", "provider"]);
    assert_eq!(tenants["default openai"], own);
    assert_eq!(tenants["other openai"], sum(&|name| name.0 == "other"));
    let others = admin(&gateway, "/costs?period=day&tenant=other&group_by=policy");
    assert_eq!(money(&others["total"]), sum(&|name| name.0 == "other").1);
    assert_eq!(by_name(&others, &["policy"]).values().map(|line| line.1).sum::<Money>(), money(&others["total"]));

    // A tenant that is served with the operator's key sees that, and not which (rule T3).
    let shared = get(&gateway, STRANGER_KEY, "/v1/tenants/other/costs?period=day&group_by=key");
    assert_eq!(by_name(&shared.json(), &["key"]).keys().collect::<Vec<_>>(), ["shared"], "{}", shared.text());
    let own_key = by_name(&page(&gateway, "/v1/tenants/default/costs?period=day&group_by=key"), &["key"]);
    assert!(own_key.keys().all(|key| key.starts_with("key_")) && own_key.len() == 1, "{own_key:?}");
}

#[test]
fn who_may_not_see_costs_is_told_no_more_than_that() {
    let simulator = Simulator::builder().start().expect("a loopback port");
    let gateway = Gateway::before(&simulator);
    for path in ["usage", "costs", "costs/forecast", "costs?group_by=model&bucket=day"] {
        let own = format!("/v1/tenants/default/{path}");
        assert_eq!(get(&gateway, BOOKS_KEY, &own).status, 200, "{path}: the scope `costs` is enough");
        get(&gateway, INFERENCE_KEY, &own).must_be_fault(403, "insufficient_scope");
        get(&gateway, STRANGER_KEY, &own).must_be_fault(404, "not_found");
        get(&gateway, BOOKS_KEY, &format!("/v1/tenants/other/{path}")).must_be_fault(404, "not_found");
        assert_eq!(get(&gateway, ACCESS_KEY, &format!("/v1/tenants/other/{path}")).status, 200, "the operator");
        get(&gateway, ACCESS_KEY, &format!("/v1/tenants/nobody/{path}")).must_be_fault(404, "not_found");
    }
    assert_eq!(gateway.admin("/costs?tenant=nobody").status, 404);
    for wrong in [
        "period=year",
        "from=yesterday",
        "to=2026-11-01T00:00:00Z",
        "from=2026-11-02T00:00:00Z&to=2026-11-01T00:00:00Z",
        "from=2000-01-01T00:00:00Z",
        "period=day&from=2026-11-01T00:00:00Z",
        "group_by=tenant",
        "group_by=model,model",
        "group_by=colour",
        "bucket=minute",
        "limit=0",
        "limit=1000000",
        "after=x",
        "tenant=other",
    ] {
        let answer = get(&gateway, ACCESS_KEY, &format!("/v1/tenants/default/costs?{wrong}"));
        answer.must_be_fault(400, "invalid_request");
        assert!(answer.json()["error"]["param"].is_string(), "{wrong}: {}", answer.text());
    }
}

/// A line of the past for the tenant `default`.
fn past(hour: u64, provider: &str, micro: i128) -> UsageRow {
    UsageRow {
        tenant: TenantId::new("default"),
        hour,
        provider: ProviderId::new(provider),
        model: "m".to_owned(),
        policy: "cost".to_owned(),
        credential: CredentialId::from_bits(1),
        access_key: AccessKeyId::from_bits(1),
        requests: 1,
        attempts: 1,
        failed: 0,
        estimated: 0,
        unpriced: 0,
        input_tokens: 1,
        output_tokens: 1,
        cached_tokens: 0,
        cost: Money::from_pico(micro * 1_000_000 + 1),
    }
}

/// A gateway that finds this in its books.
fn with_past(rows: &[UsageRow]) -> (Simulator, Gateway) {
    let simulator = Simulator::builder().start().expect("a loopback port");
    let mut gateway = Gateway::before(&simulator);
    gateway.kill();
    let mut store = Store::open(&gateway.home().join("data/igris.db")).expect("nobody has it");
    store.admin().add_usage(&UsageBatch { source: "the past", sequence: 1, rows }).expect("added");
    drop(store);
    gateway.restart();
    (simulator, gateway)
}

fn hour(text: &str) -> u64 {
    igris::config::unit::instant(text).expect("an instant").0 / 3_600_000
}

#[test]
fn times_end_where_they_say_and_buckets_begin_with_the_calendar() {
    let rows: Vec<UsageRow> = [
        // Around the leap day of 2024, a Thursday.
        ("2024-02-28T23:00:00Z", 1),
        ("2024-02-29T00:00:00Z", 10),
        ("2024-02-29T23:00:00Z", 100),
        ("2024-03-01T00:00:00Z", 1_000),
        // The end of an ISO week and of a year: 2024-12-29 is a Sunday.
        ("2024-12-29T23:00:00Z", 10_000),
        ("2024-12-30T00:00:00Z", 100_000),
        ("2024-12-31T23:00:00Z", 1_000_000),
        ("2025-01-01T00:00:00Z", 10_000_000),
    ]
    .iter()
    .map(|(at, micro)| past(hour(at), "openai", *micro))
    .collect();
    let (_simulator, gateway) = with_past(&rows);
    let costs = |query: &str| page(&gateway, &format!("/v1/tenants/default/costs?{query}"));
    let micro = |value: &Value| money(value).pico() / 1_000_000;

    // The end is excluded, the beginning is not; what begins within an hour counts the whole hour, and the answer says so.
    let leap = costs("from=2024-02-29T00:00:00Z&to=2024-03-01T00:00:00Z");
    assert_eq!(micro(&leap["total"]), 110);
    assert_eq!((&leap["period"], micro(&leap["previous"])), (&json!("custom"), 1));
    let widened = costs("from=2024-02-29T00:30:00Z&to=2024-02-29T23:00:01Z");
    assert_eq!(micro(&widened["total"]), 110);
    assert_eq!((&widened["from"], &widened["to"]), (&json!("2024-02-29T00:00:00Z"), &json!("2024-03-01T00:00:00Z")));

    let begins = |query: &str| -> Vec<(String, i128)> {
        let answer = costs(query);
        let lines = answer["data"].as_array().expect("lines").iter();
        lines.map(|line| (line["bucket"].as_str().expect("a bucket")[..13].to_owned(), micro(line))).collect()
    };
    let expected = |list: &[(&str, i128)]| -> Vec<(String, i128)> {
        list.iter().map(|(begin, micro)| ((*begin).to_owned(), *micro)).collect()
    };
    let two = "from=2024-02-01T00:00:00Z&to=2024-04-01T00:00:00Z";
    assert_eq!(begins(&format!("{two}&bucket=month")), expected(&[("2024-02-01T00", 111), ("2024-03-01T00", 1_000)]));
    assert_eq!(
        begins(&format!("{two}&bucket=day")),
        expected(&[("2024-02-28T00", 1), ("2024-02-29T00", 110), ("2024-03-01T00", 1_000)])
    );
    let turn = "from=2024-12-01T00:00:00Z&to=2025-02-01T00:00:00Z";
    assert_eq!(
        begins(&format!("{turn}&bucket=week")),
        expected(&[("2024-12-23T00", 10_000), ("2024-12-30T00", 11_100_000)])
    );
    assert_eq!(
        begins(&format!("{turn}&bucket=month")),
        expected(&[("2024-12-01T00", 1_110_000), ("2025-01-01T00", 10_000_000)])
    );
    assert_eq!(begins(&format!("{turn}&bucket=hour")).len(), 4);

    // The trend: January against the 31 days before it.
    let trend = costs("from=2025-01-01T00:00:00Z&to=2025-02-01T00:00:00Z");
    assert_eq!((&trend["previous"]["from"], micro(&trend["previous"])), (&json!("2024-12-01T00:00:00Z"), 1_110_000));
    assert_eq!(trend["trend"]["change"], "8.889999999998", "three lines became one: {trend}");
    assert_eq!(trend["trend"]["change_percent"], 800.9, "{trend}");
    let nothing = costs("from=2023-01-01T00:00:00Z&to=2023-02-01T00:00:00Z");
    assert_eq!((&nothing["total"]["cost"], &nothing["trend"]["change_percent"]), (&json!("0"), &Value::Null));

    // Pages fit together.
    let first = costs(&format!("{two}&bucket=day&limit=2"));
    assert_eq!((first["data"].as_array().map(Vec::len), &first["next"]), (Some(2), &json!("2")));
    let last = costs(&format!("{two}&bucket=day&limit=2&after=2"));
    assert_eq!((last["data"].as_array().map(Vec::len), &last["next"]), (Some(1), &Value::Null));
    let usage = page(&gateway, &format!("/v1/tenants/default/usage?{two}"));
    assert_eq!((micro(&usage), &usage["period"]), (1_111, &json!("custom")));
}

#[test]
fn a_forecast_says_what_it_knows_and_what_not() {
    let (_simulator, gateway) = with_past(&[]);
    let nothing = page(&gateway, "/v1/tenants/default/costs/forecast");
    assert_eq!(
        (&nothing["forecast"], &nothing["days"], &nothing["backtest"]),
        (&Value::Null, &json!([]), &Value::Null)
    );
    assert!(nothing["reason"].as_str().is_some_and(|reason| reason.contains("one whole day")), "{nothing}");

    let today = UnixMillis::now().0 / 86_400_000;
    let day = |ago: u64, provider: &str, micro| past((today - ago) * 24 + 12, provider, micro);
    let (_simulator, gateway) = with_past(&(1..=5).map(|ago| day(ago, "openai", 2_000_000)).collect::<Vec<_>>());
    let little = page(&gateway, "/v1/tenants/default/costs/forecast");
    assert_eq!(little["history_days"], 5, "{little}");
    assert!(little["reason"].as_str().is_some_and(|reason| reason.contains("5 days of history")), "{little}");
    let width = |answer: &Value| {
        let interval = &answer["forecast"]["interval_80"];
        interval["high_usd"].as_f64().expect("a bound") - interval["low_usd"].as_f64().expect("a bound")
    };

    let both = |ago| [day(ago, "openai", 1_500_000), day(ago, "anthropic", 500_000)];
    let (_simulator, gateway) = with_past(&(1..=180).flat_map(both).collect::<Vec<_>>());
    let told = page(&gateway, "/v1/tenants/default/costs/forecast");
    assert_eq!((&told["reason"], &told["backtest"]["target"]), (&Value::Null, &json!("month")), "{told}");
    assert!(width(&told) < width(&little), "{told} {little}");
    // Two dollars a day: what is left of today and the days after it.
    let (days, spent) = (told["days"].as_array().expect("days").len(), told["month_to_date"]["cost_usd"].as_f64());
    let elapsed = told["actual"].as_array().expect("days").len();
    assert!((spent.expect("a number") - 2.0 * elapsed as f64).abs() < 1e-6, "{told}");
    let forecast = told["forecast"]["cost_usd"].as_f64().expect("a number");
    let (least, most) = (2.0 * (elapsed + days - 1) as f64, 2.0 * (elapsed + days) as f64);
    assert!((least - 0.2..=most + 0.2).contains(&forecast), "{least}..{most}: {told}");
    let shares = |by: &str| -> f64 {
        told[by].as_object().expect(by).values().map(|share| share["forecast_usd"].as_f64().expect("a number")).sum()
    };
    assert!((shares("by_provider") - forecast).abs() < 0.01 && (shares("by_model") - forecast).abs() < 0.01, "{told}");
    let share = told["by_provider"]["openai"]["forecast_usd"].as_f64().expect("a number") / forecast;
    assert!((share - 0.75).abs() < 0.01, "{told}");
    let all = admin(&gateway, "/costs/forecast");
    assert_eq!(
        (&all["month_to_date"], &all["backtest"], &all["history_days"]),
        (&told["month_to_date"], &told["backtest"], &told["history_days"]),
        "one tenant is all of them"
    );
    assert_eq!(admin(&gateway, "/costs/forecast?tenant=other")["forecast"], Value::Null);
}

/// The figures of `docs/costs.md`: `cargo test --profile fast --test analytics -- --ignored --nocapture million`.
#[test]
#[ignore = "writes a million lines; prints what pages over them take"]
fn a_page_over_a_million_lines() {
    const HOURS: u64 = 9_000;
    const LINES: u64 = 111;
    let simulator = Simulator::builder().start().expect("a loopback port");
    let mut gateway = Gateway::before(&simulator);
    gateway.kill();
    let now = UnixMillis::now().0 / 3_600_000;
    let mut store = Store::open(&gateway.home().join("data/igris.db")).expect("nobody has it");
    for (sequence, hours) in (1..).zip((now - HOURS..now).collect::<Vec<_>>().chunks(100)) {
        let line = |hour: u64, line: u64| UsageRow {
            model: format!("model-of-some-name-{}", line % 12),
            policy: ["thompson", "cost"][(line % 2) as usize].to_owned(),
            credential: CredentialId::from_bits(u128::from(line % 7) + 1),
            access_key: AccessKeyId::from_bits(u128::from(line)),
            ..past(
                hour,
                ["openai", "anthropic", "google", "groq", "mistral"][(line % 5) as usize],
                1_000 + i128::from(line),
            )
        };
        let rows: Vec<UsageRow> = hours.iter().flat_map(|hour| (0..LINES).map(move |one| line(*hour, one))).collect();
        store.admin().add_usage(&UsageBatch { source: "the past", sequence, rows: &rows }).expect("added");
    }
    drop(store);
    gateway.restart();
    println!("{} lines of an hour each", HOURS * LINES);
    let from = UnixMillis((now - HOURS) * 3_600_000).to_rfc3339();
    for (name, path) in [
        ("usage, 30 days", "usage?period=month".to_owned()),
        ("costs by provider, 30 days in days", "costs?period=month&group_by=provider&bucket=day".to_owned()),
        (
            "costs by provider and model, 30 days in hours",
            "costs?period=month&group_by=provider,model&bucket=hour".to_owned(),
        ),
        (
            "costs by provider and model, everything in months",
            format!("costs?from={from}&group_by=provider,model&bucket=month"),
        ),
        ("costs by access key, everything", format!("costs?from={from}&group_by=access_key")),
        ("forecast", "costs/forecast".to_owned()),
    ] {
        let path = format!("/v1/tenants/default/{path}");
        let took = (0..5).map(|_| {
            let began = std::time::Instant::now();
            page(&gateway, &path);
            began.elapsed()
        });
        println!("| {name} | {:.0} ms |", took.min().expect("some").as_secs_f64() * 1e3);
    }
    let quiet = worst_chat(&gateway, || std::thread::sleep(std::time::Duration::from_millis(1)));
    let path = format!("/v1/tenants/default/costs?from={from}&group_by=provider,model&bucket=month");
    let busy = worst_chat(&gateway, || {
        page(&gateway, &path);
    });
    println!(
        "| slowest of 200 chats, nobody asking | {quiet:.1} ms |\n| the same while pages are asked for all the time | {busy:.1} ms |"
    );
}

/// Milliseconds of the slowest of 200 answers while something else goes on.
fn worst_chat(gateway: &Gateway, beside: impl Fn() + Sync) -> f64 {
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                beside();
                std::thread::yield_now();
            }
        });
        let one = |_| {
            let began = std::time::Instant::now();
            assert_eq!(gateway.chat(&support::chat("x")).status, 200);
            began.elapsed().as_secs_f64() * 1e3
        };
        let worst = (0..200).map(one).fold(0.0, f64::max);
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        worst
    })
}

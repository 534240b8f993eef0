//! What has no known price is said so: counted by provider, named once, and never taken for free. What has one may be the owner's; and
//! which models are asked when nobody says which.

use super::*;
use crate::limits::UNPRICED_NAMED_MAX;
use crate::metering::terms::Terms;

fn closed(control: &mut Control, house: &House, reports: impl IntoIterator<Item = AttemptReport>) {
    for report in reports {
        assert!(house.reports.push(&report), "room");
        control.tick();
    }
}

fn of_model(provider: &str, model: &str, cost: Option<&str>) -> AttemptReport {
    AttemptReport {
        provider: ProviderId::new(provider),
        model: Arc::from(model),
        ..attempt("acme", Outcome::Completed, cost)
    }
}

fn named(control: &Control) -> Vec<String> {
    events(control).lines().filter_map(|line| line.strip_prefix("price: ")).map(str::to_owned).collect()
}

#[test]
fn an_unknown_price_is_counted_and_its_model_named_once() {
    let house = House::new("unpriced");
    let mut control = house.open(CONFIG);
    let metric = |control: &Control, provider: &str| {
        let name = format!("igris_unpriced_attempts_total{{provider=\"{provider}\"}} ");
        control.metrics().lines().find_map(|line| line.strip_prefix(&name).map(str::to_owned))
    };
    let nothing_used = AttemptReport { usage: Usage::default(), ..of_model("openai", "gpt-9", None) };
    closed(&mut control, &house, [of_model("openai", "gpt-4o", Some("0")), nothing_used]);
    assert_eq!((metric(&control, "openai"), named(&control)), (None, Vec::new()), "free and unused are not unknown");

    let unknown = || of_model("openai", "gpt-9", None);
    closed(&mut control, &house, [unknown(), unknown(), of_model("local-vllm", "llama", None)]);
    assert_eq!(metric(&control, "openai").as_deref(), Some("2"));
    assert_eq!(metric(&control, "local-vllm").as_deref(), Some("1"));
    let named = named(&control);
    assert_eq!(named.len(), 2, "{named:?}");
    assert!(named[0].contains("`openai`") && named[0].contains("gpt-9") && named[1].contains("llama"), "{named:?}");
    let sum = control.usage(&tenant("acme"), UsagePeriod::Day, clock()).expect("summed");
    assert_eq!((sum.total.attempts, sum.total.cost), (5, Money::ZERO));
}

#[test]
fn the_owners_prices_hold_and_change_with_the_configuration() {
    let house = House::new("own-prices");
    let own = |input: &str| {
        format!(
            "{CONFIG}\n[[prices]]\nprovider = \"openai\"\nmodel = \"gpt-4o\"\ninput = \"{input}\"\noutput = \"$9/Mtok\"\n\
             [[prices]]\nprovider = \"local-vllm\"\nmodel = \"llama\"\ninput = \"$0.5/Mtok\"\noutput = \"$1/Mtok\"\n"
        )
    };
    let usage = Usage { input: 1_000_000, ..Usage::default() };
    let cost = |control: &Control, provider: &str, model: &str| {
        let catalogue = &control.published().load().routes.catalogue;
        catalogue.cost(provider, model, &usage, &Terms::usual(clock())).map(|cost| cost.total.to_string())
    };
    let mut control = house.open(CONFIG);
    assert_eq!(cost(&control, "openai", "gpt-4o").as_deref(), Some("2.5"), "the list price");
    assert_eq!(cost(&control, "local-vllm", "llama"), None);
    control.reload(WHO, Some(&own("$7/Mtok"))).expect("fine");
    assert_eq!(cost(&control, "openai", "gpt-4o").as_deref(), Some("7"));
    assert_eq!(cost(&control, "local-vllm", "llama").as_deref(), Some("0.5"));
    control.reload(WHO, Some(&own("$3/Mtok"))).expect("fine");
    assert_eq!(cost(&control, "openai", "gpt-4o").as_deref(), Some("3"));
    control.reload(WHO, Some(&own("3"))).expect_err("not a price");
    assert_eq!(cost(&control, "openai", "gpt-4o").as_deref(), Some("3"), "a bad file changes nothing");
    control.reload(WHO, Some(CONFIG)).expect("fine");
    assert_eq!(cost(&control, "openai", "gpt-4o").as_deref(), Some("2.5"), "the list price again");
}

#[test]
fn auto_is_shown_and_asks_the_recommended_models() {
    let house = House::new("auto");
    let control = house.open(CONFIG);
    let snapshot = control.published().load_full();
    let auto = snapshot.routes.models.resolve("auto").expect("somebody is recommended");
    let asked: Vec<_> =
        auto.candidates.iter().map(|candidate| (candidate.provider.as_str(), &*candidate.model)).collect();
    assert_eq!(asked, [("local-vllm", "llama"), ("openai", "gpt-5.6-sol")], "in the order of the file");
    let shown = snapshot.routes.listed.iter().find(|listed| &*listed.name == "auto").expect("shown");
    assert_eq!(shown.providers, [ProviderIx(0), ProviderIx(1)]);
}

#[test]
fn made_up_names_are_named_within_bounds_and_all_counted() {
    let house = House::new("unpriced-many");
    let mut control = house.open(CONFIG);
    let many = UNPRICED_NAMED_MAX + 2;
    closed(&mut control, &house, (0..many).map(|n| of_model("openai", &format!("made-up-{n}"), None)));
    assert!(control.metrics().contains(&format!("igris_unpriced_attempts_total{{provider=\"openai\"}} {many}\n")));
    let named = named(&control);
    let last = UNPRICED_NAMED_MAX - 1;
    assert!(named.iter().any(|text| text.contains(&format!("made-up-{last};"))), "{named:?}");
    assert!(!named.iter().any(|text| text.contains(&format!("made-up-{UNPRICED_NAMED_MAX};"))));
}

//! `[alerts]`: when somebody is told of budgets and of what is unusual, and where messages go.

use super::leaf::{Reading, count, duration, name, number, text, truth};
use super::operation::{KeySource, key_source};
use super::problem::{Complaint, Findings, quoted, suggestion};
use super::read::{At, Typed};
use super::{BaseUrl, raw, unit};
use crate::domain::alert::AlertKind;
use crate::domain::id::TenantId;
use crate::domain::money::Money;
use crate::limits::alerts::{
    ALERT_PERCENT_MAX, ALERT_THRESHOLDS, ALERT_THRESHOLDS_MAX, UNUSUAL_COOL_DOWN, UNUSUAL_COOL_DOWN_CEILING,
    UNUSUAL_COOL_DOWN_LEAST, UNUSUAL_SCORE, UNUSUAL_SCORE_CEILING, UNUSUAL_SCORE_LEAST, UNUSUAL_SPEND_PICO,
    WEBHOOKS_CONFIGURED_MAX,
};
use std::time::Duration;

/// `[alerts]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Alerts {
    /// Whole percentages of a budget at which somebody is told, rising, where the budget itself says nothing.
    pub thresholds: Vec<u16>,
    /// Whether unusual spending and errors are told of.
    pub unusual: bool,
    /// From this robust z-score on something is unusual.
    pub sensitivity: f64,
    /// Spending of one hour below which nothing is unusual.
    pub min_spend: Money,
    /// How long after one alert nothing more is told of the same thing.
    pub cool_down: Duration,
    /// Where messages go.
    pub webhooks: Vec<AlertWebhook>,
}

/// One of `[[alerts.webhooks]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertWebhook {
    /// What answers and events call it; no two alike.
    pub name: String,
    /// Where it is.
    pub url: BaseUrl,
    /// Whether it may be on this machine or network.
    pub allow_private_address: bool,
    /// Where its secret is.
    pub secret: KeySource,
    /// Where the one before is, which signs too.
    pub former_secret: Option<KeySource>,
    /// Sorts of alerts; empty: all.
    pub events: Vec<AlertKind>,
    /// Whose alerts; empty: everybody's.
    pub tenants: Vec<TenantId>,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            thresholds: ALERT_THRESHOLDS.to_vec(),
            unusual: true,
            sensitivity: UNUSUAL_SCORE,
            min_spend: Money::from_pico(UNUSUAL_SPEND_PICO),
            cool_down: UNUSUAL_COOL_DOWN,
            webhooks: Vec::new(),
        }
    }
}

/// The section as meant; `tenants` are those of the file, sorted.
pub(super) fn alerts(raw: Option<raw::Alerts>, tenants: &[&str], findings: &mut Findings) -> Alerts {
    let usual = Alerts::default();
    let Some(raw) = raw else { return usual };
    let at = raw.at;
    let thresholds = match raw.thresholds {
        None => usual.thresholds,
        Some(leaves) => {
            if leaves.len() > ALERT_THRESHOLDS_MAX {
                let what = format!("`thresholds` has more than {ALERT_THRESHOLDS_MAX} entries");
                findings.error(at, what, "keep those that somebody acts on");
            }
            let typed = findings.all("thresholds", leaves, count(1, ALERT_PERCENT_MAX.into()));
            findings.distinct("the threshold", &typed);
            let mut meant: Vec<u16> = typed.iter().map(|at| u16::try_from(at.value).unwrap_or(u16::MAX)).collect();
            meant.sort_unstable();
            meant
        }
    };
    let sensitivity = number(UNUSUAL_SCORE_LEAST, UNUSUAL_SCORE_CEILING);
    let cool_down = duration(UNUSUAL_COOL_DOWN_LEAST, UNUSUAL_COOL_DOWN_CEILING);
    Alerts {
        thresholds,
        unusual: findings.value("unusual", raw.unusual, truth).unwrap_or(usual.unusual),
        sensitivity: findings.value("sensitivity", raw.sensitivity, sensitivity).unwrap_or(usual.sensitivity),
        min_spend: findings.value("min_spend", raw.min_spend, money).unwrap_or(usual.min_spend),
        cool_down: findings.value("cool_down", raw.cool_down, cool_down).unwrap_or(usual.cool_down),
        webhooks: webhooks(raw.webhooks.unwrap_or_default(), tenants, findings),
    }
}

fn webhooks(raw: Vec<raw::AlertWebhook>, tenants: &[&str], findings: &mut Findings) -> Vec<AlertWebhook> {
    let (mut webhooks, mut names): (Vec<AlertWebhook>, Vec<At<String>>) = (Vec::new(), Vec::new());
    for webhook in raw {
        if let Some((name, webhook)) = one(webhook, tenants, findings) {
            names.push(name);
            webhooks.push(webhook);
        }
    }
    findings.distinct("the webhook", &names);
    if webhooks.len() > WEBHOOKS_CONFIGURED_MAX {
        let at = names.first().map_or(0, |name| name.at);
        let what = format!("`[[alerts.webhooks]]` has more than {WEBHOOKS_CONFIGURED_MAX} entries");
        findings.error(at, what, "keep those in use");
    }
    webhooks
}

fn one(raw: raw::AlertWebhook, tenants: &[&str], findings: &mut Findings) -> Option<(At<String>, AlertWebhook)> {
    const TABLE: &str = "a webhook of `[[alerts.webhooks]]`";
    let at = raw.at;
    let private = findings.value("allow_private_address", raw.allow_private_address, truth).unwrap_or(false);
    let named = findings.required((TABLE, at, "name", "\"pager\""), raw.name, name);
    let example = "\"https://hooks.example.com/igris\"";
    let url = |typed: &Typed| BaseUrl::parse(&text(typed)?, private);
    let url = findings.required((TABLE, at, "url", example), raw.url, url);
    if raw.secret.is_none() {
        let remedy = "write `secret = { env = \"NAME\" }` or { file = … }; it begins with whsec_";
        findings.error(at, format!("{TABLE} has no `secret`"), remedy);
    }
    let secret = raw.secret.and_then(|key| key_source("secret", key, false, findings));
    let former = raw.former_secret.and_then(|key| key_source("former_secret", key, false, findings));
    let events = findings.all("events", raw.events.unwrap_or_default(), kind);
    let whose = |typed: &Typed| tenant(typed, tenants);
    let whose = findings.all("tenants", raw.tenants.unwrap_or_default(), whose);
    let (named, url, secret) = (named?, url?, secret?);
    let webhook = AlertWebhook {
        name: named.value.clone(),
        url: url.value,
        allow_private_address: private,
        secret: secret.value,
        former_secret: former.map(|key| key.value),
        events: events.into_iter().map(|kind| kind.value).collect(),
        tenants: whose.into_iter().map(|tenant| tenant.value).collect(),
    };
    Some((named, webhook))
}

fn kind(typed: &Typed) -> Reading<AlertKind> {
    let word = text(typed)?;
    AlertKind::parse(&word).ok_or_else(|| {
        let close = suggestion(&word, AlertKind::ALL.iter().map(|kind| kind.name()));
        Complaint::new(
            format!("has {}, no sort of alert{close}", quoted(&word)),
            format!("write {}", AlertKind::names()),
        )
    })
}

fn tenant(typed: &Typed, tenants: &[&str]) -> Reading<TenantId> {
    let id = name(typed)?;
    if tenants.is_empty() || tenants.binary_search(&id.as_str()).is_ok() {
        return Ok(TenantId::new(&id));
    }
    let what = format!("names {}, which is no tenant of this file", quoted(&id));
    Err(Complaint::new(what, "add it to `[[tenants]]`, or correct the name"))
}

fn money(typed: &Typed) -> Reading<Money> {
    unit::money(&text(typed)?)
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Known};

    fn read(lines: &str) -> Result<super::Alerts, String> {
        let known = Known { providers: &[], dialects: &[] };
        let config = Config::parse("igris.toml", &format!("[alerts]\n{lines}\n"), &known);
        config.map(|config| config.alerts).map_err(|problems| problems.to_string())
    }

    fn webhook(lines: &str) -> String {
        format!(
            "[[alerts.webhooks]]\nname = \"pager\"\nurl = \"https://a.example/x\"\nsecret = {{ env = \"S\" }}\n{lines}"
        )
    }

    #[test]
    fn what_is_not_said_is_as_usual() {
        let meant = read("thresholds = [100, 50]\nmin_spend = \"$0.50\"\ncool_down = \"1h\"").expect("fine");
        assert_eq!((meant.thresholds, meant.unusual), (vec![50, 100], true));
        assert_eq!((meant.min_spend.to_string(), meant.cool_down.as_secs()), ("0.5".to_owned(), 3_600));
        assert_eq!(read(""), Ok(super::Alerts::default()));
        let meant = read(&webhook("events = [\"anomaly\"]\ntenants = [\"default\"]")).expect("fine");
        assert_eq!(meant.webhooks.first().map(|webhook| webhook.url.as_str()), Some("https://a.example/x"));
    }

    #[test]
    fn a_webhook_is_whole_and_its_words_are_known() {
        for (lines, part) in [
            ("thresholds = [0]".to_owned(), "below the least"),
            ("thresholds = [75, 75]".to_owned(), "75"),
            ("sensitivity = 1".to_owned(), "below the least"),
            ("[[alerts.webhooks]]\nname = \"a\"".to_owned(), "no `url`"),
            (webhook("events = [\"budget_alerts\"]"), "budget_alert"),
            (webhook("tenants = [\"nobody\"]"), "no tenant"),
            (webhook("") + &webhook(""), "pager"),
            (webhook("former_secret = { fd = 3 }"), "descriptor"),
            ("[[alerts.webhooks]]\nname=\"a\"\nsecret={env=\"S\"}\nurl=\"http://10.0.0.1/\"".to_owned(), "plain http"),
        ] {
            assert!(read(&lines).is_err_and(|error| error.contains(part)), "{lines}: {:?}", read(&lines));
        }
    }
}

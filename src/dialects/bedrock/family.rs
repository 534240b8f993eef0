//! Whose model a name on Bedrock means, as far as that changes how a request is written.
//!
//! A name is a vendor's model id (`anthropic.claude-sonnet-4-5-20250929-v1:0`), perhaps behind a region (`us.`, `global.`), or an ARN. An
//! ARN of an inference profile of the account's own says nothing: it is [`Family::Opaque`] and gets only what every model takes.

/// Whose model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Anthropic's Claude.
    Claude(Claude),
    /// Amazon's Nova; the second generation reasons.
    Nova {
        /// Whether it is of the second generation or later.
        reasons: bool,
    },
    /// OpenAI's models: the open ones take `reasoning_effort`, the others `reasoning`.
    OpenAi {
        /// Whether the weights are open (`gpt-oss`).
        open: bool,
    },
    /// Somebody else's.
    Other,
    /// The name does not say.
    Opaque,
}

/// Which Claude.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claude {
    /// Generation, as in 4.5; `None` where the name has none, which is taken for the newest.
    version: Option<(u16, u16)>,
    line: Line,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Opus,
    Fable,
    Sonnet,
    Other,
}

impl Family {
    /// What the name of a model says.
    pub fn of(model: &str) -> Self {
        let model = model.to_ascii_lowercase();
        if let Some((_, rest)) = model.split_once("claude") {
            return Self::Claude(Claude::of(rest));
        }
        if model.contains("anthropic.") {
            return Self::Claude(Claude::of(""));
        }
        if let Some((_, rest)) = model.split_once("nova-") {
            return Self::Nova { reasons: rest.starts_with(|first: char| ('2'..='9').contains(&first)) };
        }
        if model.contains("openai.") {
            return Self::OpenAi { open: model.contains("gpt-oss") };
        }
        let own = ["inference-profile/", "provisioned-model/", "prompt/", "prompt-router/", "custom-model"];
        if model.starts_with("arn:") && own.iter().any(|kind| model.contains(kind)) {
            return Self::Opaque;
        }
        Self::Other
    }

    /// The Claude, if it is one.
    pub fn claude(self) -> Option<Claude> {
        match self {
            Self::Claude(claude) => Some(claude),
            _ => None,
        }
    }

    /// Whether it takes back sealed thinking. One that does not say may be a Claude, and only a Claude can have made the seal.
    pub fn takes_seals(self) -> bool {
        matches!(self, Self::Claude(_) | Self::Opaque)
    }

    /// Whether it takes cache points. Others refuse the whole request for one.
    pub fn takes_cache_points(self) -> bool {
        matches!(self, Self::Claude(_) | Self::Nova { .. })
    }

    /// Whether a tool's result may say that it failed ("only supported by Amazon Nova and Anthropic Claude").
    pub fn takes_result_status(self) -> bool {
        matches!(self, Self::Claude(_) | Self::Nova { .. })
    }
}

impl Claude {
    /// Reads what stands after `claude`: `-3-5-sonnet-20240620-v1:0`, `-opus-4-6-v1`, `-sonnet-5`, `-v2:1`.
    fn of(rest: &str) -> Self {
        let line = if rest.contains("opus") {
            Line::Opus
        } else if rest.contains("fable") {
            Line::Fable
        } else if rest.contains("sonnet") {
            Line::Sonnet
        } else {
            Line::Other
        };
        // A date is longer than a version; a version in one part has no minor number.
        let number = |part: &str| part.parse::<u16>().ok().filter(|_| part.len() <= 2);
        let parts = || rest.split(['-', '@']).skip_while(|part| number(part).is_none());
        let major = parts().next().and_then(number);
        let minor = parts().nth(1).and_then(number).unwrap_or(0);
        let oldest = || {
            let version = rest.split('-').find_map(|part| part.strip_prefix('v'))?;
            version.split(':').next().and_then(number)
        };
        let version = major.map(|major| (major, minor)).or_else(|| oldest().map(|major| (major, 0)));
        Self { version, line }
    }

    /// Whether it is of that generation or later.
    pub fn is_at_least(self, major: u16, minor: u16) -> bool {
        self.version.is_none_or(|version| version >= (major, minor))
    }

    /// Whether it can think before it answers.
    pub fn can_think(self) -> bool {
        self.is_at_least(3, 7)
    }

    /// Whether it cannot be told not to think.
    pub fn always_thinks(self) -> bool {
        let known = |major, minor| self.version.is_some() && self.is_at_least(major, minor);
        match self.line {
            Line::Opus | Line::Sonnet => known(5, 5),
            Line::Fable => known(5, 0),
            Line::Other => false,
        }
    }

    /// Whether it takes temperature, top_p and top_k.
    pub fn samples(self) -> bool {
        !self.is_at_least(4, 7)
    }

    /// Thinks as much as it finds fit, by an effort; older ones by a budget of tokens.
    pub fn thinks_adaptively(self) -> bool {
        self.is_at_least(4, 6)
    }

    /// Refuses to be told that it must call a tool.
    pub fn refuses_forced_tools(self) -> bool {
        let known = |major, minor| self.version.is_some() && self.is_at_least(major, minor);
        match self.line {
            Line::Opus => known(5, 5),
            Line::Fable => known(5, 1),
            Line::Sonnet | Line::Other => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(model: &str) -> Option<(u16, u16)> {
        Family::of(model).claude().expect("a Claude").version
    }

    #[test]
    fn versions_are_read_from_every_way_of_naming() {
        let cases = [
            ("anthropic.claude-3-5-sonnet-20240620-v1:0", Some((3, 5))),
            ("us.anthropic.claude-sonnet-4-20250514-v1:0", Some((4, 0))),
            ("global.anthropic.claude-sonnet-4-5-20250929-v1:0", Some((4, 5))),
            ("eu.anthropic.claude-opus-4-6-v1", Some((4, 6))),
            ("anthropic.claude-sonnet-5", Some((5, 0))),
            ("anthropic.claude-opus-5-5-v1:0", Some((5, 5))),
            ("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0", Some((3, 0))),
            ("anthropic.claude-v2:1", Some((2, 0))),
            ("anthropic.something-new", None),
        ];
        for (model, expected) in cases {
            assert_eq!(version(model), expected, "{model}");
        }
    }

    #[test]
    fn families_are_told_apart() {
        let cases = [
            ("us.amazon.nova-2-lite-v1:0", Family::Nova { reasons: true }),
            ("amazon.nova-pro-v1:0", Family::Nova { reasons: false }),
            ("openai.gpt-oss-120b-1:0", Family::OpenAi { open: true }),
            ("us.openai.gpt-5.2", Family::OpenAi { open: false }),
            ("meta.llama4-scout-17b-instruct-v1:0", Family::Other),
            ("arn:aws:bedrock:us-east-1:1:application-inference-profile/a1b2", Family::Opaque),
        ];
        for (model, expected) in cases {
            assert_eq!(Family::of(model), expected, "{model}");
        }
    }

    #[test]
    fn what_a_claude_refuses_depends_on_its_generation() {
        let claude = |model| Family::of(model).claude().expect("a Claude");
        assert!(claude("anthropic.claude-opus-5-5").refuses_forced_tools());
        assert!(claude("anthropic.claude-fable-5-1-v1:0").refuses_forced_tools());
        assert!(!claude("anthropic.claude-opus-5").refuses_forced_tools());
        assert!(!claude("anthropic.claude-sonnet-5-5").refuses_forced_tools());
        assert!(claude("anthropic.claude-opus-4-6-v1").thinks_adaptively());
        let haiku = claude("anthropic.claude-haiku-4-5-20251001-v1:0");
        assert!(!haiku.thinks_adaptively() && haiku.can_think() && haiku.samples() && !haiku.always_thinks());
        assert!(!claude("anthropic.claude-3-5-sonnet-20240620-v1:0").can_think());
        assert!(
            claude("anthropic.claude-sonnet-5-5").always_thinks() && !claude("anthropic.claude-opus-4-8").samples()
        );
    }
}

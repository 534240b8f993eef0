//! What was told is shared from here on: what a copy was told alone does not count among all machines, whose numbers would meet it.

pub(super) const STEP: &str = r"
    DELETE FROM alerts WHERE EXISTS (SELECT 1 FROM shared_position);
    DELETE FROM budget_marks WHERE EXISTS (SELECT 1 FROM shared_position);
";

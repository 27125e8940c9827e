//! Tables for a terminal.

/// Columns as wide as their widest cell, two blanks between them.
pub(super) fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let line = |row: &[String; COLUMNS]| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// `134.5 M`, `15.4 K`
pub(super) fn short(count: u64) -> String {
    let (divisor, unit) = if count < 1_000_000 { (1e3, 'K') } else { (1e6, 'M') };
    format!("{:.1} {unit}", count as f64 / divisor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["name".to_owned(), "b".to_owned()], ["a".to_owned(), "12".to_owned()]];
        assert_eq!(aligned(&rows), "name  b\na     12\n");
        assert_eq!((short(134_515_008), short(15_440)), ("134.5 M".to_owned(), "15.4 K".to_owned()));
    }
}

//! Event ids as numbers: a quarter of the room.

/// The number of a UUID; 0 for anything else, which the host never hands over.
pub(crate) fn parse(text: &str) -> u128 {
    let digits: String = text.chars().filter(|digit| *digit != '-').collect();
    u128::from_str_radix(&digits, 16).unwrap_or(0)
}

pub(crate) fn format(id: u128) -> String {
    let [a, b, c, d] = [id >> 96, id >> 80, id >> 64, id >> 48].map(|part| part as u32);
    let (b, c, d) = (b as u16, c as u16, d as u16);
    format!("{a:08x}-{b:04x}-{c:04x}-{d:04x}-{:012x}", id as u64 & 0xffff_ffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_comes_back_as_it_was() {
        for id in ["019fc4eb-9bb8-7000-97fa-a6e49db869db", "00000000-0000-0000-0000-000000000001"] {
            assert_eq!(format(parse(id)), id);
        }
        assert_eq!(parse("no UUID"), 0);
    }
}

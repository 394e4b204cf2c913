//! The order of servers: RFC 2782, "Usage rules".

use rand::RngExt;
use rand_chacha::ChaCha12Rng;

use super::Srv;

/// The servers in the order in which they are tried: by priority, and within one drawn so that each comes first as often
/// as its weight says.
pub(super) fn in_order<'a>(servers: &[&'a Srv], rng: &mut ChaCha12Rng) -> Vec<&'a Srv> {
    let mut left = servers.to_vec();
    left.sort_by_key(|it| (it.priority, it.weight));
    let mut ordered = Vec::with_capacity(left.len());
    while let Some(priority) = left.first().map(|it| it.priority) {
        let group = left.iter().take_while(|it| it.priority == priority);
        let total: u32 = group.map(|it| u32::from(it.weight)).sum();
        let drawn = rng.random_range(0..=total);
        let mut sum = 0;
        // Those of weight 0 stand first, and are drawn with 0 only.
        let at = left.iter().position(|it| {
            sum += u32::from(it.weight);
            sum >= drawn
        });
        ordered.push(left.remove(at.unwrap_or(0)));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn servers_come_by_priority_and_share_the_load_by_weight() {
        let servers = [(10, 60, 1), (10, 40, 2), (10, 0, 3), (5, 0, 4), (20, 0, 5), (20, 0, 6)]
            .map(|(priority, weight, port)| Srv { priority, weight, port, target: "a".into() });
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        let mut second = [0_u32; 7];
        let mut fifth = [0_u32; 7];
        for _ in 0..10_000 {
            let ports: Vec<_> = in_order(&servers.iter().collect::<Vec<_>>(), &mut rng);
            let ports: Vec<_> = ports.iter().map(|it| usize::from(it.port)).collect();
            assert_eq!((ports[0], ports.len()), (4, 6));
            second[ports[1]] += 1;
            fifth[ports[4]] += 1;
        }
        assert!((5_800..6_200).contains(&second[1]) && (3_700..4_100).contains(&second[2]), "{second:?}");
        assert!((1..300).contains(&second[3]), "{second:?}");
        // Of weight 0, as RFC 2782 has it, the first is drawn always.
        assert_eq!(fifth[5] + fifth[6], 10_000);
    }
}

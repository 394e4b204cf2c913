//! Calls that somebody listens to, or is connected with somebody else from outside.

use super::parties::check;

#[test]
fn a_supervisor_hears_a_call_and_leaves_it_as_it_was() {
    check(
        "
        0.000 < a INVITE to=300 sdp=sendrecv
        ~ b answers
        1.000 < supervise c
        1.000 # Dialled 2
        1.000 ! open-media 2
        1.000 > c INVITE sendrecv v1
        1.010 < supervise d
        1.010 ! refused 491
        1.100 < c 200 sdp=sendrecv
        1.100 > c ACK
        1.100 # LegAnswered 2
        1.100 ! update-media 2 192.0.2.12 send receive
        1.100 ! supervising 2
        2.000 < c BYE
        2.000 > c 200 BYE
        2.000 ! close-media 2
        2.000 # LegEnded 2 HungUp
        2.000 ! supervisor-gone
        3.000 < a BYE
        3.000 > a 200 BYE
        3.000 ! unbridge 0 1
        3.000 ! close-media 0
        3.000 > b BYE
        3.000 ! close-media 1
        3.000 # LegEnded 1 HungUp
        3.000 ! ended HungUp None Remote
        3.000 # Ended
        3.010 < b 200 method=BYE
    ",
    );
}

#[test]
fn a_supervisor_is_hung_up_and_another_one_is_not_there() {
    check(
        "
        0.000 < a INVITE to=200 sdp=sendrecv
        ~ the agent answers
        1.000 < supervise c
        1.000 # Dialled 1
        1.000 ! open-media 1
        1.000 > c INVITE sendrecv v1
        1.100 < c 200 sdp=sendrecv
        1.100 > c ACK
        1.100 # LegAnswered 1
        1.100 ! update-media 1 192.0.2.12 send receive
        1.100 ! supervising 1
        2.000 < dismiss
        2.000 > c BYE
        2.000 ! close-media 1
        2.000 # LegEnded 1 HungUp
        2.000 ! supervisor-gone
        2.010 < c 200 method=BYE
        3.000 < supervise d
        3.000 # Dialled 2
        3.000 ! open-media 2
        3.000 > d INVITE sendrecv v1
        3.100 < d 486
        3.100 > d ACK
        3.100 ! close-media 2
        3.100 # LegEnded 2 Rejected
        3.100 ! supervisor-gone
        4.000 < supervise e
        4.000 # Dialled 3
        4.000 ! open-media 3
        4.000 > e INVITE sendrecv v1
        4.100 < e 180
        4.100 # LegRinging 3
        4.200 < dismiss
        4.200 > e CANCEL
        4.200 ! supervisor-gone
        4.210 < e 200 method=CANCEL
        4.220 < e 487
        4.220 > e ACK
        4.220 ! close-media 3
        4.220 # LegEnded 3 Cancelled
        5.000 < a BYE
        5.000 > a 200 BYE
        5.000 ! close-media 0
        5.000 ! ended HungUp None Remote
        5.000 # Ended
    ",
    );
}

#[test]
fn a_supervisor_goes_with_the_call() {
    check(
        "
        0.000 < a INVITE to=300 sdp=sendrecv
        ~ b answers
        1.000 < supervise c
        1.000 # Dialled 2
        1.000 ! open-media 2
        1.000 > c INVITE sendrecv v1
        1.100 < c 200 sdp=sendrecv
        1.100 > c ACK
        1.100 # LegAnswered 2
        1.100 ! update-media 2 192.0.2.12 send receive
        1.100 ! supervising 2
        2.000 < b BYE
        2.000 > b 200 BYE
        2.000 ! unbridge 1 0
        2.000 ! close-media 1
        2.000 # LegEnded 1 HungUp
        2.000 > a BYE
        2.000 ! close-media 0
        2.000 > c BYE
        2.000 ! close-media 2
        2.000 # LegEnded 2 HungUp
        2.000 ! ended HungUp None Remote
        2.000 # Ended
        2.010 < a 200 method=BYE
        2.020 < c 200 method=BYE
    ",
    );
}

#[test]
fn one_side_is_connected_with_somebody_else() {
    check(
        "
        0.000 < a INVITE to=300 sdp=sendrecv
        ~ b answers
        1.000 < redirect c
        1.000 # Dialled 2
        1.000 ! open-media 2
        1.000 > c INVITE sendrecv v1
        1.100 < c 200 sdp=sendrecv
        1.100 > c ACK
        1.100 # LegAnswered 2
        1.100 ! update-media 2 192.0.2.12 send receive
        1.100 # Transferred Succeeded
        1.100 ! unbridge 0 1
        1.100 ! bridge 0 2
        1.100 # Bridged 0 2
        1.100 > b BYE
        1.100 ! close-media 1
        1.100 # LegEnded 1 HungUp
        1.110 < b 200 method=BYE
        9.000 < a BYE
        9.000 > a 200 BYE
        9.000 ! unbridge 0 2
        9.000 ! close-media 0
        9.000 > c BYE
        9.000 ! close-media 2
        9.000 # LegEnded 2 HungUp
        9.000 ! ended HungUp None Remote
        9.000 # Ended
        9.010 < c 200 method=BYE
    ",
    );
}

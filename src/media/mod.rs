//! The media cores: jitter buffer, RTP session, playout, levels and reports, on media time.

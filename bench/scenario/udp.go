// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package scenario

import (
	"context"

	"github.com/quartet-go/quartet/bench/load"
)

var udp = &Scenario{
	Name:     "udp",
	Sentence: "echo of datagrams from many client sockets; one that is lost counts as missing",
	Most:     65507, // of IPv4
	cases:    []Case{{Conns: 64, Size: 64, Depth: 1}},
	run: func(ctx context.Context, t *test) error {
		at, tape, err := t.startEcho(ctx, "udp")
		if err != nil {
			return err
		}
		d, err := load.DialDatagrams(load.DatagramConfig{
			Endpoint: at, Sockets: t.Conns, Depth: t.Depth, Rate: t.Rate, Tape: tape, Threads: t.Threads,
		})
		if err != nil {
			return err
		}
		defer d.Close()
		m := t.meter()
		t.attempt.Round = m.round(d.Run(m.window(ctx)))
		t.attempt.Round.RSSPerConn = nil // a server has no connections here
		return nil
	},
}

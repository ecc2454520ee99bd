// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package scenario

import "context"

// busyShare is one connection in so many.
const busyShare = 100

var mixed = &Scenario{
	Name:     "mixed",
	Sentence: "echo on one connection in a hundred while the others are open and idle",
	cases:    []Case{{Conns: 5000, Size: 64, Depth: 1}},
	run: func(ctx context.Context, t *test) error {
		return t.streams(ctx, "echo", "tcp", false, max(t.Conns/busyShare, 1))
	},
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package scenario

import "context"

var fixed = &Scenario{
	Name:     "fixed",
	Sentence: "frames of exactly 16 octets, each answered with itself",
	Most:     1 << 20,
	cases:    []Case{{Conns: 200, Size: 16, Depth: 1}},
	run:      func(ctx context.Context, t *test) error { return t.streams(ctx, "fixed", "tcp", false, 0) },
}

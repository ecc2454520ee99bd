// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package scenario

import "context"

var frames = &Scenario{
	Name:     "frames",
	Sentence: "length-prefixed messages, 16 in flight on each connection: the server decodes each and answers it framed",
	Least:    4, // the prefix
	Most:     1 << 20,
	cases:    []Case{{Conns: 100, Size: 64, Depth: 16}},
	run:      func(ctx context.Context, t *test) error { return t.streams(ctx, "frames", "tcp", true, 0) },
}

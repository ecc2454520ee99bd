// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package scenario

import "context"

var unixEcho = &Scenario{
	Name:     "unix",
	Sentence: "echo over a unix stream socket",
	cases:    []Case{{Conns: 200, Size: 64, Depth: 1}},
	run:      func(ctx context.Context, t *test) error { return t.streams(ctx, "echo", "unix", false, 0) },
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package frames_test

import (
	"context"
	"log"
	"log/slog"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/servers/frames"
)

func Example() {
	r, err := reactor.New(reactor.Options{})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := r.Listen("tcp", ":1060", frames.Stream(codec.Line(0), slog.Default()), nil); err != nil {
		log.Fatal(err)
	}
	log.Println(r.Serve(context.Background()))
}

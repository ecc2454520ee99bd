// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package daytime_test

import (
	"context"
	"log"

	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/servers/daytime"
)

func Example() {
	r, err := reactor.New(reactor.Options{})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := r.Listen("tcp", ":13", daytime.Stream, nil); err != nil {
		log.Fatal(err)
	}
	if _, err := r.ListenPacket("udp", ":13", reactor.PacketFunc(daytime.Datagram), nil); err != nil {
		log.Fatal(err)
	}
	log.Println(r.Serve(context.Background()))
}

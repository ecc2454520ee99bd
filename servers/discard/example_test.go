// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package discard_test

import (
	"context"
	"log"

	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/servers/discard"
)

func Example() {
	r, err := reactor.New(reactor.Options{})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := r.Listen("tcp", ":9", discard.Stream, nil); err != nil {
		log.Fatal(err)
	}
	if _, err := r.ListenPacket("udp", ":9", reactor.PacketFunc(discard.Datagram), nil); err != nil {
		log.Fatal(err)
	}
	log.Println(r.Serve(context.Background()))
}

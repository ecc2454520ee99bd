// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package chargen_test

import (
	"context"
	"log"

	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/servers/chargen"
)

func Example() {
	r, err := reactor.New(reactor.Options{})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := r.Listen("tcp", ":19", chargen.Stream, nil); err != nil {
		log.Fatal(err)
	}
	if _, err := r.ListenPacket("udp", ":19", reactor.PacketFunc(chargen.Datagram), nil); err != nil {
		log.Fatal(err)
	}
	log.Println(r.Serve(context.Background()))
}

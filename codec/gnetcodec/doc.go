// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

/*
Package gnetcodec lets servers and clients on gnet's own engine use the codecs of package codec.

Each connection has a [Reader], made in OnOpen and kept wherever the program keeps what it knows about a connection.
OnTraffic loops over its Frames, the ones that have become whole, and OnClose asks it how the stream ended. Answers go
through a [codec.Writer] on the connection and leave together when it is flushed. The example is a whole server.

What gnet does stays as it is. A peer that shuts down its writing half is closed. Returning Close drops output that the
kernel does not take at once. Output is not bounded. A failed Write closes the connection at once, and one more Write
might reach whoever has its descriptor next: a codec.Writer makes none, as its errors are final.
*/
package gnetcodec

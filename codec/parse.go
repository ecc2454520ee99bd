// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// formats are the codecs that Parse knows, in the order in which it names them.
var formats = []struct {
	name  string
	form  string // what a spec looks like
	parse func(args string) (Codec, error)
}{
	{"raw", "raw", parseRaw},
	{"fixed", "fixed:N", parseFixed},
	{"len", "len:N[,max=S]", parseLen},
	{"length", "length:size=4,offset=0,adjust=0,strip=0,order=big|little,max=1MiB", parseLength},
	{"varint", "varint[:max=S]", maxOnly(newVarint)},
	{"line", "line[:max=S]", maxOnly(newLine)},
	{"delim", "delim:hex=0d0a+0a[,max=S][,keep]", parseDelim},
	{"netstring", "netstring[:max=S]", maxOnly(newNetstring)},
}

// Parse makes the codec that spec describes, as a flag or a configuration file would:
//
//	raw                            Raw()
//	fixed:N                        Fixed(N)
//	len:N[,max=S]                  LengthPrefix(N, S)
//	length:size=4,offset=0,...     LengthField(LengthFieldOptions{Size: 4, ...})
//	varint[:max=S]                 Varint(S)
//	line[:max=S]                   Line(S)
//	delim:hex=0d0a+0a[,...]        Delimiter(DelimiterOptions{Delimiters: []string{"\r\n", "\n"}, ...})
//	netstring[:max=S]              Netstring(S)
//
// The keys of length are size, offset, adjust, strip, order (big or little) and max, in any order. Those left out have
// the values of the zero [LengthFieldOptions]. Those of delim are hex, the delimiters in hexadecimal digits with a plus
// sign between them, max, and keep, which has no value. Numbers of bytes take the forms of [ParseSize]; adjust may have
// a minus sign. What a constructor would panic with, Parse returns as an error of the same message, and a number that
// is there is taken literally: 0 does not stand for a default.
func Parse(spec string) (Codec, error) {
	name, args, hasArgs := strings.Cut(spec, ":")
	for _, f := range formats {
		if f.name != name {
			continue
		}
		if hasArgs && args == "" {
			return nil, fmt.Errorf("codec: nothing after the colon of %q, want %s", spec, f.form)
		}
		return f.parse(args)
	}
	forms := make([]string, len(formats))
	for i, f := range formats {
		forms[i] = f.form
	}
	return nil, fmt.Errorf("codec: no codec is named %q, want %s", name, strings.Join(forms, " or "))
}

func parseRaw(args string) (Codec, error) {
	if args != "" {
		return nil, fmt.Errorf("codec: raw takes no options, not %q", args)
	}
	return Raw(), nil
}

func parseFixed(args string) (Codec, error) {
	n, err := parseSize(args)
	if err != nil {
		return nil, fmt.Errorf("codec: fixed:N with N = %q: it %w", args, err)
	}
	return newFixed(n)
}

func parseLen(args string) (Codec, error) {
	size, rest, more := strings.Cut(args, ",")
	o := LengthFieldOptions{Max: DefaultMax}
	if err := sizeKey(&o.Size)(size); err != nil {
		return nil, fmt.Errorf("codec: len:N with N = %q: it %w", size, err)
	}
	o.Strip = o.Size
	if more {
		if err := parseKeys(rest, key{name: "max", set: sizeKey(&o.Max)}); err != nil {
			return nil, err
		}
	}
	return newLengthField(o)
}

func parseLength(args string) (Codec, error) {
	o := LengthFieldOptions{}.withDefaults()
	if args != "" {
		err := parseKeys(args,
			key{name: "size", set: sizeKey(&o.Size)},
			key{name: "offset", set: sizeKey(&o.Offset)},
			key{name: "adjust", set: func(value string) (err error) {
				number, negative := strings.CutPrefix(value, "-")
				o.Adjust, err = parseSize(number)
				if negative {
					o.Adjust = -o.Adjust
				}
				return err
			}},
			key{name: "strip", set: sizeKey(&o.Strip)},
			key{name: "order", set: func(value string) error {
				o.LittleEndian = value == "little"
				if value != "little" && value != "big" {
					return errors.New("is neither big nor little")
				}
				return nil
			}},
			key{name: "max", set: sizeKey(&o.Max)},
		)
		if err != nil {
			return nil, err
		}
	}
	return newLengthField(o)
}

// maxOnly is for the codecs whose one option is their maximum.
func maxOnly(newCodec func(max int) (Codec, error)) func(args string) (Codec, error) {
	return func(args string) (Codec, error) {
		limit := DefaultMax
		if args != "" {
			if err := parseKeys(args, key{name: "max", set: sizeKey(&limit)}); err != nil {
				return nil, err
			}
		}
		return newCodec(limit)
	}
}

func parseDelim(args string) (Codec, error) {
	o := DelimiterOptions{}.withDefaults()
	if args != "" {
		err := parseKeys(args,
			key{name: "hex", set: func(value string) error {
				for delim := range strings.SplitSeq(value, "+") {
					bytes, err := hex.DecodeString(delim)
					if err != nil {
						return errors.New("is not pairs of hexadecimal digits, with + between delimiters, like 0d0a+0a")
					}
					o.Delimiters = append(o.Delimiters, string(bytes))
				}
				return nil
			}},
			key{name: "max", set: sizeKey(&o.Max)},
			key{name: "keep", flag: &o.Keep},
		)
		if err != nil {
			return nil, err
		}
	}
	return newDelimiter(o)
}

// A key is one that may appear in a spec, and what to do with its value.
type key struct {
	name string
	set  func(value string) error // its errors continue a sentence that ends with the value
	flag *bool                    // instead, for a key that has no value
}

func sizeKey(n *int) func(string) error {
	return func(value string) (err error) {
		*n, err = parseSize(value)
		return err
	}
}

// parseKeys reads a list like "size=4,max=1MiB", in which every key may appear once.
func parseKeys(list string, keys ...key) error {
	var given []string
	for item := range strings.SplitSeq(list, ",") {
		name, value, hasValue := strings.Cut(item, "=")
		i := slices.IndexFunc(keys, func(k key) bool { return k.name == name })
		switch {
		case i < 0:
			return fmt.Errorf("codec: unknown key %q, want %s", name, names(keys))
		case hasValue && keys[i].flag != nil:
			return fmt.Errorf("codec: key %q takes no value", name)
		case !hasValue && keys[i].set != nil:
			return fmt.Errorf("codec: key %q has no value, want %s=VALUE", name, name)
		case slices.Contains(given, name):
			return fmt.Errorf("codec: key %q is given twice", name)
		}
		given = append(given, name)
		if keys[i].flag != nil {
			*keys[i].flag = true
			continue
		}
		if err := keys[i].set(value); err != nil {
			return fmt.Errorf("codec: %s=%q %w", name, value, err)
		}
	}
	return nil
}

func names(keys []key) string {
	list := make([]string, len(keys))
	for i, k := range keys {
		list[i] = k.name
	}
	return strings.Join(list, ", ")
}

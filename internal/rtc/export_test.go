package rtc

// ReadSections reads an offer as it comes from a client, and returns how many sections it sends on.
func ReadSections(offer string) (int, error) {
	all, err := readSections(offer)
	return len(all), err
}

"""Files of rows without anybody in them: made coarse, then checked by a second pair of eyes before they leave."""
